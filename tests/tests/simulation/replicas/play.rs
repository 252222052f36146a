//! One run with replicas: their tasks go on between two events of the world, and time passes when all wait.

use std::collections::BTreeMap;

use tokio::runtime::Builder;
use tokio::task::unconstrained;

use super::super::options::{Options, Summary};
use super::super::property::Failure;
use super::super::world::{Event, World};
use super::cluster::Asked;
use super::replica::Replicas;

/// Runs it. An error is a property that does not hold.
pub fn play(options: Options) -> Result<Summary, Box<Failure>> {
    // What the registry draws by itself is of the seed as well.
    fastrand::seed(options.seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(unconstrained(async {
        let fleet = Replicas::new(options.seed, options.sabotage, false);
        let mut world = World::new(options, Some(fleet));
        turns(&mut world).await?;
        Ok(world.over())
    }))
}

/// What a run asked of a Redis that is one and the same all the time, and what stood there at the end.
pub fn recorded(options: Options) -> (Vec<Asked>, BTreeMap<String, Vec<String>>) {
    fastrand::seed(options.seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(unconstrained(async {
        let replicas = Replicas::new(options.seed, options.sabotage, true);
        let cluster = replicas.cluster.clone();
        let mut world = World::new(options, Some(replicas));
        turns(&mut world).await.unwrap_or_else(|failure| panic!("{failure}"));
        let mut state = cluster.state();
        let asked = state.record.take().unwrap_or_default();
        (asked, state.nodes[state.master].data.dump())
    }))
}

async fn turns(world: &mut World) -> Result<(), Box<Failure>> {
    loop {
        let Some(replicas) = &mut world.fleet else { return Ok(()) };
        replicas.executor.run();
        let now = replicas.now();
        let (told, out, violations) = (replicas.told(), replicas.flush(now, false), replicas.violations());
        let (began, executor) = (replicas.began, replicas.executor.clone());
        for violation in violations {
            world.judge(Err(violation))?;
        }
        world.answer(out);
        for (replica, peer, id, reply) in told {
            if !world.goes_on() {
                return Ok(());
            }
            world.turn(now, Event::Told { replica, peer, id, reply })?;
        }
        match world.due() {
            None => return Ok(()),
            // What comes of the last event, also later, is still looked at until the next one.
            Some(due) if due <= now && !world.goes_on() => return Ok(()),
            Some(due) if due <= now => world.next(now)?,
            Some(due) => executor.wait_until(began + due).await,
        }
    }
}
