//! Where the signing secrets come from.
//!
//! Either from a variable, and then they stay as they are; or from AWS Secrets Manager, and then they can be
//! rolled while the function runs: they are read again every five minutes, and at once when a signature matches
//! none of them, unless they were just read.
//!
//! A missing or bad secret never stops the function: it is logged, and the route of its source answers 500,
//! which the sender retries. The secrets themselves are checked where they are used, by the verifier.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use billhook_aws::AwsEnvironment;
use billhook_aws::secret::{Reading, Secret, SecretError};
use billhook_core::scope::Source;
use billhook_core::signature::check_secrets;
use billhook_core::time::Clock;
use serde::Deserialize;

/// How long what was read is used without a reason to doubt it.
const USUAL_AGE_MAX: Duration = Duration::from_mins(5);

/// How long it is used when it matches nothing. Forgeries match nothing either, so this is also how often they
/// can make an environment ask Secrets Manager.
const DOUBTED_AGE_MAX: Duration = Duration::from_secs(30);

/// The live secrets of a source, newest first.
pub type List = Arc<[String]>;

/// The signing secrets of each source.
#[derive(Clone, Debug)]
pub struct Secrets {
    stripe: Held,
    bearbilling: Held,
}

/// Where the secrets of a source are.
#[derive(Clone)]
enum Held {
    /// In a variable, or nowhere.
    Fixed(List),
    /// In AWS Secrets Manager.
    Managed(Arc<Secret<List>>),
}

/// The secrets of a source, as far as they are known.
#[derive(Clone, PartialEq, Eq)]
pub struct Known {
    /// The secrets; none where none could be read.
    pub list: List,
    /// Why reading them again failed, where that was tried just now.
    pub failure: Option<SecretError>,
}

/// Where the secrets of a source are said to be.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// In this comma-separated list.
    Variable(String),
    /// In the secret of this ARN.
    Manager(String),
    /// Nowhere.
    Nowhere,
}

impl Secrets {
    /// The secrets at these places.
    #[must_use]
    pub fn new(
        environment: &AwsEnvironment,
        stripe: Place,
        bearbilling: Place,
        clock: &Clock,
    ) -> Self {
        let held = |place| match place {
            Place::Nowhere => Held::Fixed(Arc::default()),
            Place::Variable(list) => Held::Fixed(split(&list)),
            Place::Manager(arn) => Held::Managed(Arc::new(Secret::new(
                environment,
                arn,
                parse,
                clock.clone(),
            ))),
        };
        Self {
            stripe: held(stripe),
            bearbilling: held(bearbilling),
        }
    }

    /// Secrets that stay as they are, in comma-separated lists; a source without a list has none.
    ///
    /// Nothing is trimmed: a space or line break that came along makes the list unusable, loudly, rather
    /// than changing a secret silently.
    #[must_use]
    pub fn fixed(stripe: Option<&str>, bearbilling: Option<&str>) -> Self {
        let held = |list: Option<&str>| Held::Fixed(list.map(split).unwrap_or_default());
        Self {
            stripe: held(stripe),
            bearbilling: held(bearbilling),
        }
    }

    /// The live secrets of a source, any of which may have signed a delivery.
    pub async fn of(&self, source: Source) -> Known {
        self.held(source).read(USUAL_AGE_MAX).await
    }

    /// The secrets of a source again, after those that are known matched nothing or were none.
    pub async fn again(&self, source: Source) -> Known {
        self.held(source).read(DOUBTED_AGE_MAX).await
    }

    fn held(&self, source: Source) -> &Held {
        match source {
            Source::Stripe => &self.stripe,
            Source::BearBilling => &self.bearbilling,
        }
    }
}

impl Held {
    async fn read(&self, max_age: Duration) -> Known {
        match self {
            Self::Fixed(list) => Known {
                list: list.clone(),
                failure: None,
            },
            Self::Managed(secret) => {
                let Reading { value, failure } = secret.read(max_age).await;
                Known {
                    list: value.unwrap_or_default(),
                    failure,
                }
            }
        }
    }
}

/// Counts, never secrets.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(list) => write!(f, "{} secrets", list.len()),
            Self::Managed(secret) => secret.fmt(f),
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets, {:?}", self.list.len(), self.failure)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(_) => f.write_str("Variable"),
            Self::Manager(arn) => f.debug_tuple("Manager").field(arn).finish(),
            Self::Nowhere => f.write_str("Nowhere"),
        }
    }
}

fn split(list: &str) -> List {
    list.split(',').map(str::to_owned).collect()
}

/// Reads what a secret in Secrets Manager holds: `{"secrets":["newest","older"]}`, or one plain secret.
fn parse(text: &str) -> Result<List, &'static str> {
    #[derive(Deserialize)]
    struct Document {
        secrets: Vec<String>,
    }
    let list: Vec<String> = if text.trim_start().starts_with('{') {
        serde_json::from_str(text)
            .map(|document: Document| document.secrets)
            .map_err(|_| "it is no JSON object with a list of texts named secrets")?
    } else {
        vec![text.to_owned()]
    };
    check_secrets(&list)
        .map_err(|_| "a secret in it is empty or has white space at an end, or there is none")?;
    Ok(list.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_holds_an_object_or_one_plain_secret() {
        let list = |text| parse(text).map(|list| list.to_vec());
        let owned = |texts: &[&str]| Ok(texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(list("whsec_a"), owned(&["whsec_a"]));
        assert_eq!(
            list(r#" {"secrets":["whsec_b","whsec_a"],"rolled":"today"}"#),
            owned(&["whsec_b", "whsec_a"])
        );
        for text in [
            "",
            " ",
            "whsec_a\n",
            " whsec_a",
            "{",
            "{}",
            r#"{"secrets":[]}"#,
            r#"{"secrets":["whsec_a",""]}"#,
            r#"{"secrets":["whsec_a","whsec_b "]}"#,
            r#"{"secrets":"whsec_a"}"#,
            r#"{"secrets":[1]}"#,
            r#"{"secrets":["whsec_a"]"#,
        ] {
            assert!(list(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let secrets = Secrets::fixed(Some("whsec_hidden"), None);
        let place = Place::Variable("whsec_hidden".to_owned());
        let shown = format!("{secrets:?} {place:?}");
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
