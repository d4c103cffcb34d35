//! Which event types are known, and which of them change state.

use super::Kind;
use crate::scope::Source;

/// Every event type of Stripe's about billing as of 2026-10-28.endive
/// (<https://docs.stripe.com/api/events/types>), sorted by name, with the kind of object whose state it shows.
/// `None` means that the event is kept in the ledger and changes no state.
#[rustfmt::skip]
pub const EVENT_TYPES: &[(&str, Option<Kind>)] = &[
    ("billing.alert.triggered", None),
    ("billing.credit_balance_transaction.created", None),
    ("billing.credit_grant.created", None),
    ("billing.credit_grant.updated", None),
    ("billing.meter.created", None),
    ("billing.meter.deactivated", None),
    ("billing.meter.reactivated", None),
    ("billing.meter.updated", None),
    ("billing_portal.configuration.created", None),
    ("billing_portal.configuration.updated", None),
    ("billing_portal.session.created", None),
    ("charge.captured", Some(Kind::Charge)),
    ("charge.dispute.closed", Some(Kind::Dispute)),
    ("charge.dispute.created", Some(Kind::Dispute)),
    ("charge.dispute.funds_reinstated", Some(Kind::Dispute)),
    ("charge.dispute.funds_withdrawn", Some(Kind::Dispute)),
    ("charge.dispute.updated", Some(Kind::Dispute)),
    ("charge.expired", Some(Kind::Charge)),
    ("charge.failed", Some(Kind::Charge)),
    ("charge.pending", Some(Kind::Charge)),
    ("charge.refund.updated", Some(Kind::Refund)),
    ("charge.refunded", Some(Kind::Charge)),
    ("charge.succeeded", Some(Kind::Charge)),
    ("charge.updated", Some(Kind::Charge)),
    ("checkout.session.async_payment_failed", Some(Kind::CheckoutSession)),
    ("checkout.session.async_payment_succeeded", Some(Kind::CheckoutSession)),
    ("checkout.session.completed", Some(Kind::CheckoutSession)),
    ("checkout.session.expired", Some(Kind::CheckoutSession)),
    ("coupon.created", None),
    ("coupon.deleted", None),
    ("coupon.updated", None),
    ("credit_note.created", Some(Kind::CreditNote)),
    ("credit_note.updated", Some(Kind::CreditNote)),
    ("credit_note.voided", Some(Kind::CreditNote)),
    ("customer.created", Some(Kind::Customer)),
    ("customer.deleted", Some(Kind::Customer)),
    ("customer.discount.created", None),
    ("customer.discount.deleted", None),
    ("customer.discount.updated", None),
    ("customer.source.created", None),
    ("customer.source.deleted", None),
    ("customer.source.expiring", None),
    ("customer.source.updated", None),
    ("customer.subscription.created", Some(Kind::Subscription)),
    ("customer.subscription.deleted", Some(Kind::Subscription)),
    ("customer.subscription.paused", Some(Kind::Subscription)),
    ("customer.subscription.pending_update_applied", Some(Kind::Subscription)),
    ("customer.subscription.pending_update_expired", Some(Kind::Subscription)),
    ("customer.subscription.resumed", Some(Kind::Subscription)),
    ("customer.subscription.trial_will_end", Some(Kind::Subscription)),
    ("customer.subscription.updated", Some(Kind::Subscription)),
    ("customer.tax_id.created", None),
    ("customer.tax_id.deleted", None),
    ("customer.tax_id.updated", None),
    ("customer.updated", Some(Kind::Customer)),
    ("entitlements.active_entitlement_summary.updated", Some(Kind::EntitlementSummary)),
    ("invoice.created", Some(Kind::Invoice)),
    ("invoice.deleted", Some(Kind::Invoice)),
    ("invoice.finalization_failed", Some(Kind::Invoice)),
    ("invoice.finalized", Some(Kind::Invoice)),
    ("invoice.marked_uncollectible", Some(Kind::Invoice)),
    ("invoice.overdue", Some(Kind::Invoice)),
    ("invoice.overpaid", Some(Kind::Invoice)),
    ("invoice.paid", Some(Kind::Invoice)),
    ("invoice.payment_action_required", Some(Kind::Invoice)),
    ("invoice.payment_attempt_required", Some(Kind::Invoice)),
    ("invoice.payment_failed", Some(Kind::Invoice)),
    ("invoice.payment_succeeded", Some(Kind::Invoice)),
    ("invoice.sent", Some(Kind::Invoice)),
    ("invoice.upcoming", None),
    ("invoice.updated", Some(Kind::Invoice)),
    ("invoice.voided", Some(Kind::Invoice)),
    ("invoice.will_be_due", Some(Kind::Invoice)),
    ("invoice_payment.paid", Some(Kind::InvoicePayment)),
    ("invoiceitem.created", None),
    ("invoiceitem.deleted", None),
    ("payment_intent.amount_capturable_updated", Some(Kind::PaymentIntent)),
    ("payment_intent.canceled", Some(Kind::PaymentIntent)),
    ("payment_intent.created", Some(Kind::PaymentIntent)),
    ("payment_intent.partially_funded", Some(Kind::PaymentIntent)),
    ("payment_intent.payment_failed", Some(Kind::PaymentIntent)),
    ("payment_intent.processing", Some(Kind::PaymentIntent)),
    ("payment_intent.requires_action", Some(Kind::PaymentIntent)),
    ("payment_intent.succeeded", Some(Kind::PaymentIntent)),
    ("payment_link.created", None),
    ("payment_link.updated", None),
    ("payment_method.attached", None),
    ("payment_method.automatically_updated", None),
    ("payment_method.detached", None),
    ("payment_method.updated", None),
    ("plan.created", None),
    ("plan.deleted", None),
    ("plan.updated", None),
    ("price.created", None),
    ("price.deleted", None),
    ("price.updated", None),
    ("product.created", None),
    ("product.deleted", None),
    ("product.updated", None),
    ("promotion_code.created", None),
    ("promotion_code.updated", None),
    ("quote.accepted", None),
    ("quote.canceled", None),
    ("quote.created", None),
    ("quote.finalized", None),
    ("radar.early_fraud_warning.created", None),
    ("radar.early_fraud_warning.updated", None),
    ("refund.created", Some(Kind::Refund)),
    ("refund.failed", Some(Kind::Refund)),
    ("refund.updated", Some(Kind::Refund)),
    ("review.closed", None),
    ("review.opened", None),
    ("setup_intent.canceled", None),
    ("setup_intent.created", None),
    ("setup_intent.requires_action", None),
    ("setup_intent.setup_failed", None),
    ("setup_intent.succeeded", None),
    ("subscription_schedule.aborted", None),
    ("subscription_schedule.canceled", None),
    ("subscription_schedule.completed", None),
    ("subscription_schedule.created", None),
    ("subscription_schedule.expiring", None),
    ("subscription_schedule.released", None),
    ("subscription_schedule.updated", None),
    ("tax_rate.created", None),
    ("tax_rate.updated", None),
    ("test_helpers.test_clock.advancing", None),
    ("test_helpers.test_clock.created", None),
    ("test_helpers.test_clock.deleted", None),
    ("test_helpers.test_clock.internal_failure", None),
    ("test_helpers.test_clock.ready", None),
];

/// Every event type of Bear Billing, in the same form.
#[rustfmt::skip]
pub const BEAR_BILLING_EVENT_TYPES: &[(&str, Option<Kind>)] = &[
    ("invoice.created", Some(Kind::Invoice)),
    ("invoice.paid", Some(Kind::Invoice)),
    ("invoice.payment_failed", Some(Kind::Invoice)),
    ("subscription.cancelled", Some(Kind::Subscription)),
    ("subscription.created", Some(Kind::Subscription)),
    ("subscription.updated", Some(Kind::Subscription)),
    ("usage.recorded", Some(Kind::Usage)),
];

/// The kind of object whose state this event shows. Types that did not exist yet show none: they are kept in
/// the ledger and can be replayed by a later version.
#[must_use]
pub fn kind_of(source: Source, event_type: &str) -> Option<Kind> {
    let table = match source {
        Source::Stripe => EVENT_TYPES,
        Source::BearBilling => BEAR_BILLING_EVENT_TYPES,
    };
    let at = table
        .binary_search_by_key(&event_type, |(name, _)| name)
        .ok()?;
    table[at].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_find_each_of_their_lines() {
        for table in [EVENT_TYPES, BEAR_BILLING_EVENT_TYPES] {
            assert!(
                table.is_sorted_by(|a, b| a.0 < b.0),
                "sorted, no type twice"
            );
        }
        let stripe = |event_type| kind_of(Source::Stripe, event_type);
        assert_eq!(
            stripe("customer.subscription.deleted"),
            Some(Kind::Subscription)
        );
        assert_eq!(stripe("charge.refund.updated"), Some(Kind::Refund));
        assert_eq!(stripe("invoice.upcoming"), None);
        assert_eq!(stripe("no.such.type"), None);
    }

    #[test]
    fn a_type_of_one_source_is_none_of_the_other() {
        let bear = |event_type| kind_of(Source::BearBilling, event_type);
        assert_eq!(bear("usage.recorded"), Some(Kind::Usage));
        assert_eq!(kind_of(Source::Stripe, "usage.recorded"), None);
        assert_eq!(bear("customer.subscription.updated"), None);
    }
}
