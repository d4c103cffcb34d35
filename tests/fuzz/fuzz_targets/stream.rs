//! Whatever comes from the billing table's stream means something, nothing, or an error.
#![no_main]

use billhook_store::stream::StreamBatch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|batch: &[u8]| {
    if let Ok(batch) = serde_json::from_slice::<StreamBatch>(batch) {
        for record in &batch.records {
            let _ = record.change();
        }
    }
});
