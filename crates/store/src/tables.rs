//! The two tables as they are made for the embedded store and for tests. The infrastructure template makes
//! the same ones in an account.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};

use crate::Store;
use crate::error::StoreError;
use crate::keys::{
    BY_CUSTOMER, CPK, CSK, CTIME, ENDS, ENDS_AT, FOUND_BY, FPK, OPEN, PARKED, PK, RECEIVED, SK,
    TIMELINE,
};
use crate::ledger::TTL_ATTRIBUTE;
use crate::rows::names;

const OPERATION: &str = "create the tables";

impl Store {
    /// Creates both tables where they are not there yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store refused or did not answer.
    pub async fn create_tables(&self) -> Result<(), StoreError> {
        use ScalarAttributeType::{N, S};
        let index = |name, pk, (sk, sk_type), projection| Index {
            name,
            pk,
            sk,
            sk_type,
            projection,
        };
        let billing = [
            index(BY_CUSTOMER, CPK, (CSK, S), ProjectionType::All),
            index(OPEN, OPEN, (names::AT, N), ProjectionType::KeysOnly),
            index(FOUND_BY, FPK, (PK, S), ProjectionType::KeysOnly),
            index(ENDS, ENDS, (ENDS_AT, N), ProjectionType::KeysOnly),
        ];
        let events = [
            index(PARKED, PARKED, (RECEIVED, N), ProjectionType::All),
            index(TIMELINE, CPK, (CTIME, S), ProjectionType::Include),
        ];
        self.create_table(&self.tables.billing, &billing).await?;
        if self.create_table(&self.tables.events, &events).await? {
            self.enable_expiry().await?;
        }
        Ok(())
    }

    /// True where the table was made now.
    async fn create_table(&self, name: &str, indexes: &[Index]) -> Result<bool, StoreError> {
        // Several indexes may share an attribute, and one may use the table's own.
        let keys = [(PK, ScalarAttributeType::S), (SK, ScalarAttributeType::S)];
        let of_indexes = indexes.iter().flat_map(|index| {
            [
                (index.pk, ScalarAttributeType::S),
                (index.sk, index.sk_type.clone()),
            ]
        });
        let attributes: BTreeMap<_, _> = keys.into_iter().chain(of_indexes).collect();
        let attributes = attributes
            .into_iter()
            .map(|(name, kind)| definition(name, kind));
        let answer = self
            .client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key_element(PK, KeyType::Hash))
            .key_schema(key_element(SK, KeyType::Range))
            .set_attribute_definitions(Some(attributes.collect()))
            .set_global_secondary_indexes(Some(indexes.iter().map(Index::definition).collect()))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) => {
                let there = error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_in_use_exception());
                if there {
                    Ok(false)
                } else {
                    Err(StoreError::new(OPERATION, &error))
                }
            }
        }
    }

    async fn enable_expiry(&self) -> Result<(), StoreError> {
        let specification = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(TTL_ATTRIBUTE)
            .build()
            .expect("a specification with a name and a flag is complete");
        self.client
            .update_time_to_live()
            .table_name(&self.tables.events)
            .time_to_live_specification(specification)
            .send()
            .await
            .map(drop)
            .map_err(|error| StoreError::new(OPERATION, &error))
    }
}

struct Index {
    name: &'static str,
    pk: &'static str,
    sk: &'static str,
    sk_type: ScalarAttributeType,
    projection: ProjectionType,
}

/// What the index `timeline` shows of an event beside its keys.
const SHOWN_IN_TIMELINE: [&str; 6] = ["type", "outcome", "reason", "received", "done", "origin"];

impl Index {
    fn definition(&self) -> GlobalSecondaryIndex {
        let mut projection = Projection::builder().projection_type(self.projection.clone());
        if self.projection == ProjectionType::Include {
            let shown = SHOWN_IN_TIMELINE.map(str::to_owned);
            projection = projection.set_non_key_attributes(Some(shown.into()));
        }
        GlobalSecondaryIndex::builder()
            .index_name(self.name)
            .key_schema(key_element(self.pk, KeyType::Hash))
            .key_schema(key_element(self.sk, KeyType::Range))
            .projection(projection.build())
            .build()
            .expect("an index with a name, keys and a projection is complete")
    }
}

fn key_element(name: &str, key_type: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(key_type)
        .build()
        .expect("a key with a name and a type is complete")
}

fn definition(name: &str, attribute_type: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(attribute_type)
        .build()
        .expect("a definition with a name and a type is complete")
}
