//! Whose data an event is about: the source, live or test mode, and the connected account.
//!
//! The three together start every key of both tables, so that sources, modes and accounts can never
//! mix, whatever their ids look like.

use std::fmt;

use crate::token::token;

/// A system that sends signed events about money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Stripe (<https://docs.stripe.com/webhooks>).
    Stripe,
    /// Bear Billing.
    BearBilling,
}

impl Source {
    /// Every source there is.
    pub const ALL: [Self; 2] = [Self::Stripe, Self::BearBilling];

    /// The name used in routes, keys, envelopes and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::BearBilling => "bearbilling",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which of Stripe's two worlds a stack serves. Each stack serves one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Test mode: no real money.
    Test,
    /// Live mode: real money.
    Live,
}

impl Mode {
    /// The name used in configuration and keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    /// The mode of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Test, Self::Live]
            .into_iter()
            .find(|mode| mode.name() == name)
    }

    /// The mode that an event's `livemode` stands for.
    #[must_use]
    pub fn from_livemode(livemode: bool) -> Self {
        if livemode { Self::Live } else { Self::Test }
    }

    /// What `livemode` says in this mode.
    #[must_use]
    pub fn is_live(self) -> bool {
        self == Self::Live
    }
}

/// What starts every key: source, mode and connected account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Who sent it.
    pub source: Source,
    /// Live or test data.
    pub mode: Mode,
    /// The connected account (`acct_…`), absent for the platform's own events.
    pub account: Option<String>,
}

impl Scope {
    /// The start of a key, for instance `stripe#test#-` or `stripe#live#acct_1`.
    ///
    /// The parts are separated by `#`, which none of them can hold (see [`token`]); `-` alone stands for
    /// the platform itself.
    #[must_use]
    pub fn key(&self) -> String {
        let account = self.account.as_deref().map_or("-".into(), token);
        // An account that is itself called "-" must not become the platform.
        let account = if self.account.is_some() && account == "-" {
            "~-".into()
        } else {
            account
        };
        format!("{}#{}#{account}", self.source, self.mode.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_scopes_share_a_key() {
        let mut keys = std::collections::BTreeSet::new();
        let accounts = [
            None,
            Some("-"),
            Some("acct_1"),
            Some("acct_1#x"),
            Some("~-"),
            Some(""),
        ];
        for source in Source::ALL {
            for mode in [Mode::Test, Mode::Live] {
                for account in accounts {
                    let account = account.map(str::to_owned);
                    keys.insert(
                        Scope {
                            source,
                            mode,
                            account,
                        }
                        .key(),
                    );
                }
            }
        }
        assert_eq!(keys.len(), 2 * 2 * accounts.len(), "{keys:?}");
    }
}
