//! The two tables as they are made for the embedded store and for tests. The infrastructure template makes
//! the same ones in an account.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};

use crate::Store;
use crate::error::StoreError;
use crate::keys::{BY_CUSTOMER, CPK, CSK, PARKED, PK, RECEIVED, SK};
use crate::ledger::TTL_ATTRIBUTE;

const OPERATION: &str = "create the tables";

impl Store {
    /// Creates both tables where they are not there yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store refused or did not answer.
    pub async fn create_tables(&self) -> Result<(), StoreError> {
        let billing = Index {
            name: BY_CUSTOMER,
            pk: CPK,
            sk: CSK,
            sk_type: ScalarAttributeType::S,
        };
        let events = Index {
            name: PARKED,
            pk: PARKED,
            sk: RECEIVED,
            sk_type: ScalarAttributeType::N,
        };
        self.create_table(&self.tables.billing, billing).await?;
        if self.create_table(&self.tables.events, events).await? {
            self.enable_expiry().await?;
        }
        Ok(())
    }

    /// True where the table was made now.
    async fn create_table(&self, name: &str, index: Index) -> Result<bool, StoreError> {
        let index_definition = GlobalSecondaryIndex::builder()
            .index_name(index.name)
            .key_schema(key_element(index.pk, KeyType::Hash))
            .key_schema(key_element(index.sk, KeyType::Range))
            .projection(
                Projection::builder()
                    .projection_type(ProjectionType::All)
                    .build(),
            )
            .build()
            .expect("an index with a name, keys and a projection is complete");
        let answer = self
            .client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key_element(PK, KeyType::Hash))
            .key_schema(key_element(SK, KeyType::Range))
            .attribute_definitions(definition(PK, ScalarAttributeType::S))
            .attribute_definitions(definition(SK, ScalarAttributeType::S))
            .attribute_definitions(definition(index.pk, ScalarAttributeType::S))
            .attribute_definitions(definition(index.sk, index.sk_type))
            .global_secondary_indexes(index_definition)
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
