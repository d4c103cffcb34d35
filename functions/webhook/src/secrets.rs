//! Where the signing secrets come from.
//!
//! A missing or bad secret never stops the function: it is logged once at the start, and the route of its
//! source answers 500, which the sender retries. The secrets themselves are checked where they are used, by
//! the verifier.

use std::fmt;
use std::sync::Arc;

use billhook_core::scope::Source;

/// The signing secrets of each source.
#[derive(Clone)]
pub struct Secrets {
    stripe: Arc<[String]>,
    bearbilling: Arc<[String]>,
}

impl Secrets {
    /// Secrets that stay as they are, in comma-separated lists; a source without a list has none.
    ///
    /// Nothing is trimmed: a space or line break that came along makes the list unusable, loudly, rather
    /// than changing a secret silently.
    #[must_use]
    pub fn fixed(stripe: Option<&str>, bearbilling: Option<&str>) -> Self {
        Self {
            stripe: split(stripe),
            bearbilling: split(bearbilling),
        }
    }

    /// The live secrets of a source, any of which may have signed a delivery.
    pub async fn of(&self, source: Source) -> Arc<[String]> {
        match source {
            Source::Stripe => self.stripe.clone(),
            Source::BearBilling => self.bearbilling.clone(),
        }
    }
}

fn split(list: Option<&str>) -> Arc<[String]> {
    list.map(|list| list.split(',').map(str::to_owned).collect())
        .unwrap_or_default()
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = (self.stripe.len(), self.bearbilling.len());
        write!(
            f,
            "Secrets(stripe: {}, bearbilling: {})",
            counts.0, counts.1
        )
    }
}
