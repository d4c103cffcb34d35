//! Whatever lies on the queue is an envelope or is not, and what is read comes out as it went in.
#![no_main]

use billhook_core::envelope::Envelope;
use billhook_core::head::Head;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &str| {
    if let Ok(envelope) = Envelope::decode(message, 1) {
        let head = Head::read(envelope.source, &envelope.body);
        let _ = (head.name(&envelope.body), head.group());
        assert_eq!(Envelope::decode(&envelope.encode(), 1), Ok(envelope));
    }
});
