//! The life of a coordinator as a story: a node is born, work is placed on it, the coordinator is
//! killed, and its successor knows all of it.

#[cfg(test)]
mod common;

use std::net::SocketAddr;

use common::program::Program;
use common::{BOUND, FakeAgent, Place, ask, get, life, running_works, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodemedic_edge::files::write_atomic;
use nodemedic_protocol::Epoch;
use nodemedic_protocol::api::{
    Accepted, ApiError, EventsPage, Liveness, NodeView, StatusView, WorkView,
};
use nodemedic_protocol::message::CommandBody;

const DRAIN: &str = "POST /api/v1/nodes/nobody/drain";

const FORGET: &str = "POST /api/v1/nodes/nobody/forget";

const PUT_WORK: &str = r#"{"works":[
    {"name":"ledger","sharing":{"exclusive":{"on_lease_loss":"stop"}},
     "run":{"command":{"start":["/bin/ledger"]}}},
    {"name":"web","sharing":{"replicated":{"replicas":1}},
     "run":{"systemd":{"unit":"web@.service"}}}]}"#;

async fn may_not_be_forgotten(api: SocketAddr, node: &str) {
    let path = format!("/api/v1/nodes/{node}/forget");
    let answered = ask(api, "POST", &path, &[], r#"{"reason":"sold"}"#).await;
    assert_eq!(answered.status, 409, "{}", answered.body);
}

#[test]
fn a_killed_coordinator_is_succeeded_by_one_that_knows_its_grants() {
    let place = Place::new("");
    let node_life = life();
    let mut agent = {
        let _inside = node_life.enter();
        FakeAgent::start("node-1", place.broker_port)
    };
    let first = life();
    let running = first.block_on(place.start());
    assert_eq!(running.epoch(), Epoch(1));
    let held = first.block_on(async {
        let node: NodeView = until(running.api(), "node-1 alive", || async {
            let nodes: Vec<NodeView> = get(running.api(), "/api/v1/nodes").await;
            nodes
                .into_iter()
                .find(|node| node.liveness == Liveness::Alive)
        })
        .await;
        assert_eq!(
            (node.node.as_str(), node.zone.as_deref()),
            ("node-1", Some("rack-7"))
        );

        let answered = ask(running.api(), "PUT", "/api/v1/work", &[], PUT_WORK).await;
        assert_eq!(answered.status, 200, "{}", answered.body);
        assert!(!answered.json::<Accepted>().message.is_empty());
        let assigned = tokio::time::timeout(BOUND, async {
            loop {
                let command = agent.commands.recv().await.expect("the agent ended");
                if let CommandBody::Assign(assignment) = &command.body
                    && assignment.works.len() == 2
                {
                    return command;
                }
            }
        });
        let command = assigned.await.expect("no assignment arrived");
        assert_eq!((command.node.as_str(), command.epoch), ("node-1", Epoch(1)));
        may_not_be_forgotten(running.api(), "node-1").await;
        running_works(running.api()).await
    });
    let events_before: EventsPage = first.block_on(get(running.api(), "/api/v1/events?limit=1000"));

    // Killed: the runtime goes away with everything in it.
    let killed = std::thread::spawn(move || {
        drop(first);
        drop(running);
    });
    killed.join().unwrap();

    let second = life();
    second.block_on(async {
        let running = place.start().await;
        assert_eq!(running.epoch(), Epoch(2));
        let status: StatusView = get(running.api(), "/api/v1/status").await;
        assert_eq!(status.epoch, Epoch(2));
        assert_eq!(
            running_works(running.api()).await,
            held,
            "the same grants under the same numbers"
        );
        let events: EventsPage = get(running.api(), "/api/v1/events?after=0&limit=1000").await;
        let kept = &events.entries[..events_before.entries.len()];
        assert_eq!(
            kept, events_before.entries,
            "the journal lost or changed an entry"
        );
        running.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_of_the_configuration_are_declared_at_start_and_on_reload() {
    let work = "[work.web]\nreplicas = 1\nunit = \"web@.service\"\n";
    let place = Place::new(work);
    let running = place.start().await;
    let names = |works: Vec<WorkView>| -> Vec<String> {
        works
            .iter()
            .map(|work| work.spec.name.to_string())
            .collect()
    };
    until(running.api(), "web declared", || async {
        (names(get(running.api(), "/api/v1/work").await) == ["web"]).then_some(())
    })
    .await;
    let mut more = place.config().works;
    more[0].name = "api".parse().unwrap();
    running.declare(more).await;
    until(running.api(), "api declared too", || async {
        (names(get(running.api(), "/api/v1/work").await) == ["api", "web"]).then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_reader_hears_of_an_event_when_it_happens() {
    let place = Place::new("");
    let running = place.start().await;
    let page: EventsPage = get(running.api(), "/api/v1/events").await;
    let path = format!("/api/v1/events?after={}&wait_ms=20000", page.last);
    let waiting = get::<EventsPage>(running.api(), &path);
    let put = ask(running.api(), "PUT", "/api/v1/work", &[], PUT_WORK);
    let begin = nodemedic_edge::clock::boottime();
    let (page, put) = tokio::join!(waiting, put);
    assert_eq!(put.status, 200, "{}", put.body);
    assert!(!page.entries.is_empty());
    let waited = nodemedic_edge::clock::boottime().since(begin);
    assert!(waited.0 < 10_000, "the reader was told only after {waited}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_an_error_with_a_remedy() {
    let place = Place::new("");
    let running = place.start().await;
    // Just above the limit: a server that refuses may close while a longer body is still on its
    // way, and then the client sees the reset before the answer.
    let big = format!("{{\"works\": \"{}\"}}", "x".repeat(1 << 20));
    for (asked, header, body, status, word) in [
        ("GET /api/v1/nodes/nobody", "", "", 404, "nodemedic nodes"),
        ("GET /api/v1/nodes/..%2Fx", "", "", 400, "not a node name"),
        (DRAIN, "", r#"{"reason":"disk"}"#, 404, "nobody"),
        (
            DRAIN,
            "",
            r#"{"raeson":"disk"}"#,
            422,
            "unknown field `raeson`",
        ),
        (FORGET, "", r#"{"reason":"sold"}"#, 404, "nobody"),
        (FORGET, "", "{}", 422, "missing field `reason`"),
        (DRAIN, "", "{", 400, "docs/reference/api.md"),
        (DRAIN, "", "", 415, "Content-Type"),
        ("PUT /api/v1/work", "", &big, 413, "limit"),
        ("DELETE /api/v1/work/nothing", "", "", 404, "nodemedic work"),
        ("GET /api/v1/nothing", "", "", 404, "docs/reference/api.md"),
        ("DELETE /api/v1/nodes", "", "", 405, "DELETE"),
        ("GET /api/v1/events?limit=0", "", "", 400, "1 to 1000"),
        ("GET /api/v1/events?form=1", "", "", 400, "form"),
        (
            "GET /api/v1/nodes",
            "host: evil.example",
            "",
            403,
            "token_file",
        ),
        (
            DRAIN,
            "origin: http://evil.example",
            "{}",
            403,
            "another origin",
        ),
    ] {
        let (method, path) = asked.split_once(' ').unwrap();
        let headers: Vec<&str> = [header].into_iter().filter(|h| !h.is_empty()).collect();
        let answered = ask(running.api(), method, path, &headers, body).await;
        assert_eq!(
            answered.status, status,
            "{method} {path}: {}",
            answered.body
        );
        let error = answered.json::<ApiError>().error;
        assert!(error.contains(word), "{method} {path}: {error}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_nothing_but_the_health_check_is_open() {
    let place = Place::new("");
    let token = place.directory.path().join("token");
    nodemedic_edge::files::write_atomic(&token, b"0123456789abcdef\n", 0o600).unwrap();
    let mut config = place.config();
    config.api.token = Some("0123456789abcdef".to_owned());
    let running = nodemedic_coordinator::life::start(config).await.unwrap();
    for path in ["/", "/page/fragment", "/api/v1/status"] {
        let answered = ask(running.api(), "GET", path, &[], "").await;
        assert_eq!(answered.status, 401, "{path}");
        assert!(
            answered.headers.contains("www-authenticate"),
            "{}",
            answered.headers
        );
        let key = [
            "authorization: Bearer 0123456789abcdef",
            "host: coordinator.example",
        ];
        assert_eq!(
            ask(running.api(), "GET", path, &key, "").await.status,
            200,
            "{path}"
        );
    }
    assert_eq!(
        ask(running.api(), "GET", "/healthz", &[], "").await.status,
        200
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_the_fleet_and_nothing_from_elsewhere() {
    let place = Place::new("");
    let running = place.start().await;
    let _agent = FakeAgent::start("node-1", place.broker_port);
    until(running.api(), "the node on the page", || async {
        let page = ask(running.api(), "GET", "/page/fragment", &[], "").await;
        (page.status == 200 && page.body.contains("node-1")).then_some(())
    })
    .await;
    let cordon = r#"{"reason":"<script>alert(1)</script> & more"}"#;
    let path = "/api/v1/nodes/node-1/cordon";
    assert_eq!(
        ask(running.api(), "POST", path, &[], cordon).await.status,
        200
    );
    let page = ask(running.api(), "GET", "/", &[], "").await;
    assert!(
        page.headers.contains("default-src 'none'"),
        "{}",
        page.headers
    );
    assert!(
        page.body
            .contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more")
    );
    assert!(!page.body.contains("<script>alert"));
    for outside in ["http://", "https://", "//cdn"] {
        let body = page.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !body.contains(outside),
            "the page reaches outside: {outside}"
        );
    }
    for asset in ["/page/style.css", "/page/live.js"] {
        assert_eq!(ask(running.api(), "GET", asset, &[], "").await.status, 200);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_already_is_said_plainly() {
    let place = Place::new("");
    let running = place.start().await;
    let error = nodemedic_coordinator::life::start(place.config())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another nodemedic-coordinator already uses"),
        "{error}"
    );

    let other = Place::new("");
    let mut config = other.config();
    config.api.listen = running.api();
    let error = nodemedic_coordinator::life::start(config)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("Another program has the port"), "{error}");
    assert!(
        error.contains("set [api] listen to another port"),
        "{error}"
    );
    running.stop().await;
}

/// A device that refuses the old password is tried again, so the new one needs no restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_device_is_told_the_secret_that_its_file_holds_at_a_reload() {
    let stand_in = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/fence/fence_stand_in"
    );
    let state = tempfile::tempdir().unwrap();
    let at = state.path();
    let write = |name: &str, text: &str| write_atomic(&at.join(name), text.as_bytes(), 0o600);
    write("manner", "fail").unwrap();
    write("password", "old").unwrap();
    let place = Place::new(&format!(
        "[fencing]\nretry_first = \"200ms\"\nretry_max = \"200ms\"\n[fence.pdu]\n\
         agent = \"{stand_in}\"\noptions = {{ state = \"{at}\" }}\n\
         password_file = \"{at}/password\"\nnodes = {{ \"node-1\" = \"7\" }}\n",
        at = at.display()
    ));
    let mut program = Program::start(&place);
    let said = program.says("the page and the API are at").await;
    let (_, url) = said.split_once("http://").unwrap();
    let api: SocketAddr = url.split('/').next().unwrap().parse().unwrap();
    let _agent = FakeAgent::start("node-1", place.broker_port);
    until(api, "node-1", || async {
        let nodes: Vec<NodeView> = get(api, "/api/v1/nodes").await;
        (!nodes.is_empty()).then_some(())
    })
    .await;
    let body = r#"{"reason":"trial","by":"ada","override_budget":true}"#;
    let answered = ask(api, "POST", "/api/v1/nodes/node-1/fence", &[], body).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let told = |wanted: &'static str| {
        move || async move {
            let told = std::fs::read_to_string(at.join("stdin.off")).unwrap_or_default();
            told.lines().any(|line| line == wanted).then_some(())
        }
    };
    until(api, "the old password", told("password=old")).await;
    write("password", "new").unwrap();
    let pid = i32::try_from(program.child.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    program.says("read the configuration again").await;
    until(api, "the new password", told("password=new")).await;
}
