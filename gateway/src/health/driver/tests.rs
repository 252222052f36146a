//! What workers tell, and what they read afterwards.

use std::collections::BTreeSet;

use vertice_config::gateway::{Flags, resolve};
use vertice_registry_api::{HealthPath, ServiceUrl, Status};

use super::*;
use crate::health::{Reporter, Testimony};
use crate::route::Routes;
use crate::table::compile::{EndpointIds, Fixed, ServiceUpdate, compile, first};
use crate::table::{CheckKind, EndpointSpec, Origin, Protocol};

struct Play {
    driver: HealthDriver,
    reporter: Reporter,
    notices: mpsc::Receiver<u64>,
    table: Table,
}

fn name() -> ServiceName {
    ServiceName::parse("some_service").unwrap()
}

/// A service with `count` endpoints that the driver has not seen yet.
fn play(count: u16) -> Play {
    let spec = |n: u16| EndpointSpec {
        instance_id: InstanceId::parse(&format!("i{n}")).unwrap(),
        url: ServiceUrl::parse(&format!("http://10.0.0.1:{}", 1000 + n)).unwrap().into(),
        health: HealthPath::default(),
        check: CheckKind::Http,
        protocol: Protocol::Http1,
        weight: 1,
        status: Status::Up,
        version: None,
        held: None,
        origin: Origin::Operator,
    };
    let rules = resolve(None, &vertice_config::Env::default(), &Flags::default()).unwrap().health;
    // No checks: only requests speak here.
    let rules = HealthConfig { active: false, ..rules };
    let fixed = Fixed {
        workers: 1,
        configured: BTreeSet::new(),
        policy: AddressPolicy::default(),
        newcomers_wait: rules.active,
        tls: None,
    };
    let start = first(&fixed, |_| Routes::default());
    let update = ServiceUpdate { name: name(), endpoints: (0..count).map(spec).collect(), doubt: None };
    let (table, _) = compile(&start, vec![update], &fixed, &mut EndpointIds::default());
    let (reporter, notices) = Reporter::new(&rules);
    let (probed, _) = mpsc::channel(1);
    let driver = HealthDriver::new(rules, fixed.policy, probed, Arc::default());
    Play { driver, reporter, notices, table }
}

impl Play {
    fn endpoint(&self, position: usize) -> Arc<Endpoint> {
        self.table.services.by_name("some_service").unwrap().routable[position].clone()
    }

    fn see(&mut self) {
        self.driver.take(&Table::default(), &self.table, Instant::now());
        self.turn();
    }

    /// One turn of the loop, as after a pulse.
    fn turn(&mut self) {
        self.driver.pulse(Instant::now());
        while let Ok(serial) = self.notices.try_recv() {
            self.driver.noticed(serial, Instant::now());
        }
        self.driver.settle(Instant::now());
    }

    fn tell(&self, position: usize, testimony: Testimony, times: usize) {
        for _ in 0..times {
            self.reporter.tell(&self.endpoint(position), testimony);
        }
    }

    fn share(&self, position: usize) -> Share {
        self.endpoint(position).health.share()
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_have_an_endpoint_left_out_and_a_success_between_them_does_not() {
    for (testimony, limit) in [(Testimony::Failed, 5), (Testimony::NotConnected, 3)] {
        let mut play = play(2);
        play.see();
        play.tell(0, testimony, limit - 1);
        play.tell(0, Testimony::Answered, 1);
        play.tell(0, testimony, limit - 1);
        play.turn();
        assert_eq!(play.share(0), Share::FULL);
        play.tell(0, testimony, 1);
        play.turn();
        assert_eq!((play.share(0), play.share(1)), (Share::OUT, Share::FULL), "{testimony:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_before_the_table_was_seen_can_be_told_again() {
    let mut play = play(2);
    play.tell(0, Testimony::Failed, 9);
    play.turn();
    play.see();
    play.tell(0, Testimony::Failed, 1);
    play.turn();
    assert!(play.share(0).is_out());
}

#[tokio::test(start_paused = true)]
async fn one_request_decides_a_trial() {
    for (testimony, share) in [(Testimony::Answered, Share::FULL), (Testimony::Failed, Share::OUT)] {
        let mut play = play(2);
        play.see();
        play.tell(0, Testimony::Failed, 5);
        play.turn();
        tokio::time::advance(Duration::from_secs(10)).await;
        play.turn();
        assert_eq!(play.share(0), Share::TRIAL);
        play.endpoint(0).health.begin_attempt();
        assert_eq!(play.share(0), Share::OUT, "no second request meanwhile");
        play.turn();
        assert_eq!(play.share(0), Share::OUT);
        play.tell(0, testimony, 1);
        play.turn();
        assert_eq!(play.share(0), share, "{testimony:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trial_whose_client_left_is_offered_again() {
    let mut play = play(2);
    play.see();
    play.tell(0, Testimony::Failed, 5);
    play.turn();
    tokio::time::advance(Duration::from_secs(10)).await;
    play.turn();
    play.endpoint(0).health.begin_attempt();
    tokio::time::advance(Duration::from_secs(5)).await;
    play.turn();
    assert_eq!(play.share(0), Share::TRIAL);
}

#[tokio::test(start_paused = true)]
async fn who_fails_far_more_than_its_peers_is_left_out() {
    let mut play = play(5);
    play.see();
    for position in 0..5 {
        play.endpoint(position).health.add(70, if position == 3 { 30 } else { 0 });
    }
    play.driver.compare(Instant::now());
    play.driver.settle(Instant::now());
    let out: Vec<_> = (0..5).filter(|position| play.share(*position).is_out()).collect();
    assert_eq!(out, [3]);
    tokio::time::advance(Duration::from_secs(10)).await;
    play.driver.compare(Instant::now());
    assert_eq!(play.driver.stats.ejections().map(|(_, count)| count).sum::<u64>(), 1, "counted once");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_endpoints_that_are_gone() {
    let mut play = play(3);
    play.see();
    play.driver.take(&play.table, &Table::default(), Instant::now());
    play.turn();
    assert!(
        play.driver.tracked.is_empty() && play.driver.groups.is_empty() && play.driver.restless.is_empty()
    );
}
