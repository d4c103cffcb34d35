//! An update expression in the making. Every attribute goes by its own name, as `#name` and `:name`, so that none can
//! clash with DynamoDB's reserved words.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

/// The clauses of an update and what stands in them.
#[derive(Default)]
pub(crate) struct Update {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    assigned: Vec<String>,
    removed: Vec<String>,
}

impl Update {
    /// Sets an attribute to a value.
    pub(crate) fn set(&mut self, name: &str, value: AttributeValue) {
        self.value(name, value);
        self.assign(name, &format!(":{name}"));
    }

    /// Sets an attribute to what an expression of other names and values comes to.
    pub(crate) fn assign(&mut self, name: &str, expression: &str) {
        self.name(name);
        self.assigned.push(format!("#{name} = {expression}"));
    }

    /// Removes an attribute.
    pub(crate) fn remove(&mut self, name: &str) {
        self.name(name);
        self.removed.push(format!("#{name}"));
    }

    /// Sets an attribute, or removes it where there is no value.
    pub(crate) fn set_or_remove(&mut self, name: &str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// Makes `#name` known.
    pub(crate) fn name(&mut self, name: &str) {
        self.names.insert(format!("#{name}"), name.to_owned());
    }

    /// Makes `:word` known.
    pub(crate) fn value(&mut self, word: &str, value: AttributeValue) {
        self.values.insert(format!(":{word}"), value);
    }

    /// Completes a request that shall be carried out only if `condition` holds.
    pub(crate) fn request(
        self,
        request: UpdateItemFluentBuilder,
        condition: &str,
    ) -> UpdateItemFluentBuilder {
        let mut expression = format!("SET {}", self.assigned.join(", "));
        if !self.removed.is_empty() {
            expression.push_str(" REMOVE ");
            expression.push_str(&self.removed.join(", "));
        }
        request
            .condition_expression(condition)
            .update_expression(expression)
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values(Some(self.values))
    }
}
