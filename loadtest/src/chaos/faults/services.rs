//! Faults of the services that the nodes ask: down, slow, or lying.

use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use futures::future::BoxFuture;
use mana_sync::dev::issuer::Answer;

use super::{Claim, Fault};
use crate::Outcome;
use crate::chaos::world::World;
use crate::proxy::Mode;

/// What is wrong with it.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// Its connections.
    Way(Mode),
    /// Its answers.
    Answers(Answer),
}

/// A service that is no help.
pub(super) struct Service {
    is_auth: bool,
    harm: Harm,
}

impl Service {
    pub(super) fn auth(rng: &mut Rng) -> Self {
        Self { is_auth: true, harm: Harm::draw(rng) }
    }

    pub(super) fn billing(rng: &mut Rng) -> Self {
        Self { is_auth: false, harm: Harm::draw(rng) }
    }

    fn set(&self, world: &World, way: Mode, answer: Answer) {
        if self.is_auth {
            world.auth.set(way);
            world.issuer.answer_memberships(answer);
            world.issuer.answer_jwks(answer);
        } else {
            world.billing.set(way);
            world.issuer.answer_billing(answer);
        }
    }
}

impl Harm {
    fn draw(rng: &mut Rng) -> Self {
        match rng.u32(0..7) {
            0 => Self::Way(Mode::Cut),
            1 => Self::Way(Mode::Reset),
            2 => Self::Way(Mode::Blackhole),
            3 => Self::Answers(Answer::Slow(Duration::from_millis(rng.u64(500..5_000)))),
            4 => Self::Answers(Answer::Status(500)),
            5 => Self::Answers(Answer::Status(404)),
            _ => Self::Answers(Answer::Rubbish),
        }
    }
}

impl Fault for Service {
    fn name(&self) -> String {
        let service = if self.is_auth { "auth service" } else { "billing" };
        let harm = match self.harm {
            Harm::Way(Mode::Cut) => "refuses".to_owned(),
            Harm::Way(Mode::Reset) => "drops connections".to_owned(),
            Harm::Way(_) => "does not answer".to_owned(),
            Harm::Answers(Answer::Slow(by)) => format!("answers {} ms late", by.as_millis()),
            Harm::Answers(Answer::Status(status)) => format!("answers {status}"),
            Harm::Answers(_) => "answers rubbish".to_owned(),
        };
        format!("{service} {harm}")
    }

    fn claims(&self) -> Vec<Claim> {
        vec![if self.is_auth { Claim::Auth } else { Claim::Billing }]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            match self.harm {
                Harm::Way(mode) => self.set(world, mode, Answer::Normal),
                Harm::Answers(answer) => self.set(world, Mode::Pass, answer),
            }
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            self.set(world, Mode::Pass, Answer::Normal);
            Ok(())
        }
        .boxed()
    }
}
