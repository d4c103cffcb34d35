//! The addresses that Stripe sends webhooks from.
//!
//! They never stand in for the signature. They tell a refusal that loses an event of Stripe's from one that a stranger
//! provoked, which is worth no alarm; and a stack may refuse what is signed and comes from elsewhere.

use std::net::IpAddr;

use billhook_core::config::Variables;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

/// The addresses of <https://stripe.com/files/ips/ips_webhooks.txt>, as of November 2026. Stripe announces a new one seven days
/// ahead (<https://docs.stripe.com/ips>).
const OF_STRIPE: [&str; 12] = [
    "3.18.12.63",
    "3.130.192.231",
    "13.235.14.237",
    "13.235.122.149",
    "18.211.135.69",
    "35.154.171.200",
    "52.15.183.38",
    "54.88.130.119",
    "54.88.130.237",
    "54.187.174.169",
    "54.187.205.235",
    "54.187.216.72",
];

/// What becomes of a signed delivery from an address that is not on the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// It is taken like any other.
    #[default]
    Off,
    /// It is taken, and logged and counted.
    Log,
    /// It is refused.
    Enforce,
}

/// The list, and what it is used for.
#[derive(Clone, Debug)]
pub struct Addresses {
    listed: Vec<IpAddr>,
    /// What becomes of a delivery from elsewhere.
    pub check: Check,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            listed: OF_STRIPE.iter().filter_map(|it| it.parse().ok()).collect(),
            check: Check::default(),
        }
    }
}

impl Addresses {
    /// Reads `MORE_STRIPE_ADDRESSES` (addresses beside those that this version knows, separated by commas) and
    /// `ADDRESS_CHECK` (`off`, `log` or `enforce`).
    pub fn read(variables: &mut Variables<'_>) -> Self {
        let mut addresses = Self::default();
        if let Some(text) = variables.optional("MORE_STRIPE_ADDRESSES") {
            let listed: Result<Vec<IpAddr>, _> =
                text.split(',').map(|it| it.trim().parse()).collect();
            match listed {
                Ok(listed) => addresses.listed.extend(listed),
                Err(_) => variables.problem(
                    "MORE_STRIPE_ADDRESSES",
                    "is no list of IP addresses separated by commas",
                ),
            }
        }
        addresses.check = match variables.optional("ADDRESS_CHECK").as_deref() {
            None | Some("off") => Check::Off,
            Some("log") => Check::Log,
            Some("enforce") => Check::Enforce,
            Some(_) => {
                variables.problem("ADDRESS_CHECK", "is none of off, log, enforce");
                Check::Off
            }
        };
        addresses
    }

    /// Whether a request came from one of the listed addresses. One whose address is not known did not.
    #[must_use]
    pub fn lists(&self, request: &Request) -> bool {
        sender(request).is_some_and(|address| self.listed.contains(&address))
    }
}

/// Where a request came from, as API Gateway saw it. A load balancer says it only in a header, which anybody can write.
#[must_use]
pub fn sender(request: &Request) -> Option<IpAddr> {
    let address = match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_deref(),
        RequestContext::ApiGatewayV1(context) => context.identity.source_ip.as_deref(),
        _ => None,
    };
    address?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_known_addresses_is_one() {
        assert_eq!(Addresses::default().listed.len(), OF_STRIPE.len());
    }

    #[test]
    fn more_addresses_join_the_known_ones_and_bad_ones_are_a_problem() {
        let lookup = |name: &str| match name {
            "MORE_STRIPE_ADDRESSES" => Some("192.0.2.1, 2001:db8::1".to_owned()),
            "ADDRESS_CHECK" => Some("enforce".to_owned()),
            _ => None,
        };
        let mut variables = Variables::new(&lookup);
        let addresses = Addresses::read(&mut variables);
        assert_eq!(addresses.listed.len(), OF_STRIPE.len() + 2);
        assert_eq!(addresses.check, Check::Enforce);
        assert!(variables.finish().is_ok());

        let lookup = |_: &str| Some("10.0.0.0/8".to_owned());
        let mut variables = Variables::new(&lookup);
        Addresses::read(&mut variables);
        let text = variables.finish().expect_err("problems").to_string();
        assert!(text.contains("MORE_STRIPE_ADDRESSES"), "{text}");
        assert!(text.contains("ADDRESS_CHECK"), "{text}");
    }
}
