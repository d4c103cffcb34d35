//! The states that a row keeps beside the one it shows, as one text in which each distinct value stands once.
//!
//! A store writes the shown state as fields that others can read; this is for the order alone.

use super::kept::{Kept, States};
use super::{LastFinal, Malformed, Row, StateHash};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A place in a column: the member is absent, is as in the shown state, or has the value of this number.
const ABSENT: usize = 0;
const AS_SHOWN: usize = 1;
const FIRST_VALUE: usize = 2;

/// The states of a row but the shown one.
#[derive(Default, Serialize, Deserialize)]
struct Table {
    /// The distinct values of each member, by the member's path.
    values: Vec<(String, Vec<Value>)>,
    #[serde(default, skip_serializing_if = "Rows::is_empty")]
    live: Rows,
    #[serde(default, skip_serializing_if = "Rows::is_empty")]
    finals: Rows,
    #[serde(default, skip_serializing_if = "Rows::is_empty")]
    last_final: Rows,
}

/// States as the places of their values.
#[derive(Default, Serialize, Deserialize)]
struct Rows {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_cut: bool,
    states: BTreeMap<StateHash, Vec<usize>>,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.states.is_empty() && !self.is_cut
    }
}

impl Row {
    /// What is kept of the states that the row does not show; none if there is none.
    pub fn others(&self) -> Option<String> {
        let of_shown = self.shown().kept.values();
        let hidden = self.hidden();
        if hidden.iter().all(Rows::is_empty) {
            return None;
        }
        let none = States::default();
        let last_final = self.last_final.as_ref().map_or(&none, |last| &last.states);
        let all = [&self.live, &self.finals, last_final];
        let paths = all.iter().flat_map(|states| states.kept.values());
        let mut columns: BTreeMap<String, Vec<Value>> = paths
            .flat_map(Kept::values)
            .map(|(path, _)| (path, Vec::new()))
            .collect();
        let tables = all.iter().zip(hidden).map(|(states, mut rows)| {
            for (state, places) in &mut rows.states {
                let mut values = states.get(*state).map(Kept::values).unwrap_or_default();
                *places = columns
                    .iter_mut()
                    .map(|(path, column)| match values.remove(path) {
                        None => ABSENT,
                        Some(value) if of_shown.get(path) == Some(&value) => AS_SHOWN,
                        Some(value) => FIRST_VALUE + place_of(column, value),
                    })
                    .collect();
            }
            rows
        });
        let tables: Vec<Rows> = tables.collect();
        let [live, finals, last_final] = tables.try_into().ok()?;
        let table = Table {
            values: columns.into_iter().collect(),
            live,
            finals,
            last_final,
        };
        serde_json::to_string(&table).ok()
    }

    /// The states that do not have to be shown again: the shown one is left out once, of the states it was taken from.
    fn hidden(&self) -> [Rows; 3] {
        let (_, winner, _) = self.winner();
        let shown = winner.kept;
        let none = States::default();
        let last_final = self.last_final.as_ref().map_or(&none, |last| &last.states);
        let mut rows = [&self.live, &self.finals, last_final].map(|states| Rows {
            is_cut: states.is_cut,
            states: states
                .kept
                .keys()
                .map(|state| (*state, Vec::new()))
                .collect(),
        });
        rows[self.shown_from(shown)].states.remove(&shown);
        rows
    }

    /// Which states the shown one is taken from: the live ones, the final ones, or the last final ones.
    fn shown_from(&self, shown: StateHash) -> usize {
        let (second, winner, _) = self.winner();
        match &self.last_final {
            Some(_) if second != self.second => 2,
            _ if winner.is_final && !self.ties.is_read() && self.ties_tell(shown, true) => 1,
            _ => 0,
        }
    }

    fn ties_tell(&self, state: StateHash, is_final: bool) -> bool {
        let facts = self.ties.facts(is_final).as_slice();
        facts.iter().any(|fact| fact.kept() == state)
    }

    /// Completes a row with the state that it shows and the text that [`Row::others`] gave. Whatever else a row holds is
    /// there, of its states nothing.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for a text that is not one of those.
    pub fn complete(mut self, shown: Kept, others: Option<&str>) -> Result<Self, Malformed> {
        let table: Table = match others {
            Some(text) => serde_json::from_str(text).map_err(|_| Malformed)?,
            None => Table::default(),
        };
        let of_shown = shown.values();
        let states = |rows: &Rows| -> Result<States, Malformed> {
            let kept = rows
                .states
                .iter()
                .map(|(state, places)| Ok((*state, table.kept(places, &of_shown)?)));
            Ok(States {
                kept: kept.collect::<Result<_, Malformed>>()?,
                is_cut: rows.is_cut,
            })
        };
        self.live = states(&table.live)?;
        self.finals = states(&table.finals)?;
        if let Some(last) = &mut self.last_final {
            last.states = states(&table.last_final)?;
        }
        let (_, winner, _) = self.winner();
        let shown_from = self.shown_from(winner.kept);
        let states = match (&mut self.last_final, shown_from) {
            (Some(LastFinal { states, .. }), 2) => states,
            (_, 1) => &mut self.finals,
            _ => &mut self.live,
        };
        states.kept.insert(winner.kept, shown);
        Ok(self)
    }
}

impl Table {
    fn kept(&self, places: &[usize], shown: &BTreeMap<String, Value>) -> Result<Kept, Malformed> {
        if places.len() != self.values.len() {
            return Err(Malformed);
        }
        let mut values = BTreeMap::new();
        for ((path, column), place) in self.values.iter().zip(places) {
            let value = match *place {
                ABSENT => continue,
                AS_SHOWN => shown.get(path),
                place => column.get(place - FIRST_VALUE),
            };
            values.insert(path.clone(), value.ok_or(Malformed)?.clone());
        }
        Ok(Kept::from_values(values))
    }
}

/// The place of a value in its column, where it is put if it is not there.
fn place_of(column: &mut Vec<Value>, value: Value) -> usize {
    match column.iter().position(|there| *there == value) {
        Some(place) => place,
        None => {
            column.push(value);
            column.len() - 1
        }
    }
}
