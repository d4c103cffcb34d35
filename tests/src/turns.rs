//! Deliveries at once, in every order of their I/O calls: each call of each delivery waits for its turn, and a
//! schedule says whose turn it is. Going through the schedules one by one finds a race if there is one.
//!
//! Between two calls a delivery does nothing that others can see, so the orders of the calls are all there is.
//! Where they are too many, only those with few switches from a delivery that could go on are taken: nearly
//! every race needs no more than two.

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tokio::sync::{mpsc, oneshot};

use crate::between::{self, Between};

/// What an actor says to the schedule.
#[derive(Debug)]
enum Said {
    /// It is about to make a call and waits for its turn.
    Waits(oneshot::Sender<()>),
    /// It has made its last call.
    Done,
}

/// One of several deliveries at once.
#[derive(Clone, Debug)]
pub struct Actor {
    number: usize,
    said: mpsc::UnboundedSender<(usize, Said)>,
}

impl Actor {
    /// A client of the DynamoDB at this endpoint whose calls wait for their turn.
    #[must_use]
    pub fn client(&self, endpoint: &str) -> Client {
        between::client(endpoint, self.clone())
    }

    /// Says that it has made its last call.
    pub fn done(&self) {
        self.say(Said::Done);
    }

    fn say(&self, said: Said) {
        let sent = self.said.send((self.number, said));
        sent.expect("the schedule outlives its actors");
    }
}

impl Between for Actor {
    fn call(&self, request: HttpRequest, on: &SharedHttpConnector) -> HttpConnectorFuture {
        let (turn, my_turn) = oneshot::channel();
        self.say(Said::Waits(turn));
        let on = on.clone();
        HttpConnectorFuture::new(async move {
            my_turn.await.expect("everybody gets a turn");
            on.call(request).await
        })
    }
}

/// Whose turn it was at one step, and who could have had it instead.
#[derive(Debug)]
struct Step {
    taken: usize,
    untried: Vec<usize>,
}

/// Goes through the schedules, one a [run](Schedules::run).
#[derive(Debug)]
pub struct Schedules {
    said: mpsc::UnboundedReceiver<(usize, Said)>,
    actors: Vec<Actor>,
    switches_max: usize,
    steps: Vec<Step>,
}

impl Schedules {
    /// Schedules for so many actors, with at most so many switches from one that could go on.
    #[must_use]
    pub fn new(actors: usize, switches_max: usize) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let actor = |number| Actor {
            number,
            said: say.clone(),
        };
        Self {
            said,
            actors: (0..actors).map(actor).collect(),
            switches_max,
            steps: Vec::new(),
        }
    }

    /// The actors.
    #[must_use]
    pub fn actors(&self) -> &[Actor] {
        &self.actors
    }

    /// Gives turns until every actor is done: all of them must be under way.
    pub async fn run(&mut self) {
        let mut waiting: Vec<Option<oneshot::Sender<()>>> = Vec::new();
        waiting.resize_with(self.actors.len(), || None);
        for _ in 0..self.actors.len() {
            self.listen(&mut waiting).await;
        }
        let (mut step, mut switches, mut last) = (0, 0, None);
        loop {
            let can = |actor: &usize| waiting[*actor].is_some();
            let ready: Vec<usize> = (0..waiting.len()).filter(can).collect();
            let goes_on = last.filter(|last| ready.contains(last));
            let Some(first) = goes_on.or_else(|| ready.first().copied()) else {
                return;
            };
            if step == self.steps.len() {
                let may_switch = goes_on.is_none() || switches < self.switches_max;
                let others = ready.iter().copied().filter(|actor| *actor != first);
                let untried = others.filter(|_| may_switch).collect();
                self.steps.push(Step {
                    taken: first,
                    untried,
                });
            }
            let taken = self.steps[step].taken;
            switches += usize::from(goes_on.is_some_and(|last| last != taken));
            let turn = waiting[taken].take().expect("it waits for its turn");
            turn.send(()).expect("it is still there");
            self.listen(&mut waiting).await;
            last = Some(taken);
            step += 1;
        }
    }

    async fn listen(&mut self, waiting: &mut [Option<oneshot::Sender<()>>]) {
        let (actor, said) = self.said.recv().await.expect("the actors are here");
        waiting[actor] = match said {
            Said::Waits(turn) => Some(turn),
            Said::Done => None,
        };
    }

    /// Goes on to the next schedule; false if that was the last one.
    pub fn advance(&mut self) -> bool {
        while let Some(mut step) = self.steps.pop() {
            if let Some(next) = step.untried.pop() {
                step.taken = next;
                self.steps.push(step);
                return true;
            }
        }
        false
    }

    /// Whose turns they were, for a message.
    #[must_use]
    pub fn turns(&self) -> Vec<usize> {
        self.steps.iter().map(|step| step.taken).collect()
    }
}
