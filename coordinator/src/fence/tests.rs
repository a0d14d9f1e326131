//! The executor against an agent that obeys the contract and misbehaves on demand. Real agents:
//! tests/system.

use super::*;
use nodemedic_edge::files::write_atomic;
use nodemedic_protocol::Millis;
use std::path::Path;

struct Bench {
    dir: tempfile::TempDir,
    device: FenceDevice,
}

fn node() -> NodeId {
    NodeId::new("node-1").unwrap()
}

impl Bench {
    fn new(manner: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        write_atomic(&dir.path().join("manner"), manner.as_bytes(), 0o600).unwrap();
        let agent = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/fixtures/fence/fence_stand_in")
            .canonicalize()
            .unwrap();
        let state = dir.path().to_str().unwrap().to_owned();
        let device = FenceDevice {
            agent,
            options: [("state".into(), state), ("ip".into(), "10.0.9.1".into())].into(),
            secrets: [("password".into(), "hush=hush".into())].into(),
            plugs: [(node(), "7".into())].into(),
        };
        Bench { dir, device }
    }

    async fn ask(&self, verb: FenceVerb) -> FenceAnswer {
        self.ask_within(verb, Millis::from_secs(20)).await
    }

    async fn ask_within(&self, verb: FenceVerb, timeout: Millis) -> FenceAnswer {
        let call = FenceCall {
            id: FenceCallId(1),
            device: DeviceName::new("pdu").unwrap(),
            node: (verb != FenceVerb::Monitor).then(node),
            verb,
            timeout,
        };
        ask(&self.device, &call).await
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }
}

fn failure(answer: FenceAnswer) -> String {
    match answer {
        FenceAnswer::Failed(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_plug_goes_off_and_on_and_reads_as_it_is() {
    let bench = Bench::new("honest");
    assert_eq!(bench.ask(FenceVerb::Monitor).await, FenceAnswer::Done);
    assert_eq!(bench.ask(FenceVerb::Status).await, FenceAnswer::PowerOn);
    assert_eq!(bench.ask(FenceVerb::Off).await, FenceAnswer::Done);
    assert_eq!(bench.ask(FenceVerb::Status).await, FenceAnswer::PowerOff);
    assert_eq!(bench.ask(FenceVerb::Off).await, FenceAnswer::Done);
    assert_eq!(bench.ask(FenceVerb::On).await, FenceAnswer::Done);
    assert_eq!(bench.ask(FenceVerb::Status).await, FenceAnswer::PowerOn);
}

#[tokio::test]
async fn everything_goes_over_stdin_with_our_words_last() {
    let bench = Bench::new("honest");
    bench.ask(FenceVerb::Off).await;
    let stdin = bench.file("stdin.off");
    let state = bench.dir.path().display();
    assert_eq!(
        stdin,
        format!(
            "ip=10.0.9.1\nstate={state}\npassword=hush=hush\nplug=7\nnodename=node-1\naction=off\n"
        )
    );
    bench.ask(FenceVerb::Monitor).await;
    let stdin = bench.file("stdin.monitor");
    assert!(
        !stdin.contains("plug") && !stdin.contains("nodename"),
        "{stdin}"
    );
}

#[tokio::test]
async fn a_plug_without_a_name_is_not_handed_over() {
    let mut bench = Bench::new("honest");
    bench.device.plugs = [(node(), String::new())].into();
    bench.ask(FenceVerb::Off).await;
    assert!(!bench.file("stdin.off").contains("plug"));
}

#[tokio::test]
async fn a_failure_says_why_without_the_secret_and_never_means_off() {
    let bench = Bench::new("fail");
    for verb in [
        FenceVerb::Off,
        FenceVerb::Status,
        FenceVerb::On,
        FenceVerb::Monitor,
    ] {
        let error = failure(bench.ask(verb).await);
        assert_eq!(
            error,
            "exit code 1: Failed: Connection timed out with password (secret)"
        );
    }
}

#[tokio::test]
async fn a_hang_ends_at_its_deadline_and_a_signal_is_a_failure() {
    let hang = Bench::new("hang");
    for verb in [FenceVerb::Off, FenceVerb::Status] {
        let error = failure(hang.ask_within(verb, Millis(300)).await);
        assert!(error.contains("did not end within 300ms"), "{error}");
        assert!(error.ends_with("nobody knows what it did"), "{error}");
    }
    let signal = Bench::new("signal");
    for verb in [FenceVerb::Off, FenceVerb::Status] {
        assert_eq!(failure(signal.ask(verb).await), "ended by signal 9");
    }
}

#[tokio::test]
async fn half_work_is_shown_by_the_status_and_a_lie_is_not() {
    let half = Bench::new("half");
    assert_eq!(half.ask(FenceVerb::Off).await, FenceAnswer::Done);
    assert_eq!(half.ask(FenceVerb::Status).await, FenceAnswer::PowerOn);
    let lie = Bench::new("lie");
    assert_eq!(lie.ask(FenceVerb::Off).await, FenceAnswer::Done);
    assert_eq!(lie.ask(FenceVerb::Status).await, FenceAnswer::PowerOff);
}

#[tokio::test]
async fn endless_words_are_cut_and_a_missing_agent_says_what_to_do() {
    let chatty = Bench::new("chatty");
    let error = failure(chatty.ask(FenceVerb::Off).await);
    assert!(error.len() < 300, "{} bytes", error.len());
    let mut gone = Bench::new("honest");
    gone.device.agent = "/no/such/fence_agent".into();
    let error = failure(gone.ask(FenceVerb::Off).await);
    assert!(
        error.starts_with("cannot start /no/such/fence_agent"),
        "{error}"
    );
}

#[tokio::test]
async fn answers_come_back_under_the_number_of_their_question() {
    let bench = Bench::new("honest");
    let pdu = DeviceName::new("pdu").unwrap();
    let (fencer, mut answers) = Fencer::new([(pdu.clone(), bench.device.clone())].into());
    let call = |id, device: &DeviceName| FenceCall {
        id: FenceCallId(id),
        device: device.clone(),
        node: Some(node()),
        verb: FenceVerb::Status,
        timeout: Millis::from_secs(20),
    };
    fencer.ask(call(7, &pdu));
    fencer.ask(call(8, &DeviceName::new("nobody").unwrap()));
    let mut heard = BTreeMap::new();
    for _ in 0..2 {
        let fenced = answers.recv().await.unwrap();
        heard.insert(fenced.id, fenced.answer);
    }
    assert_eq!(heard[&FenceCallId(7)], FenceAnswer::PowerOn);
    let nobody = failure(heard[&FenceCallId(8)].clone());
    assert_eq!(nobody, "no [fence.nobody] is configured");
}

#[test]
fn secrets_are_not_in_the_debug_text() {
    let text = format!("{:?}", Bench::new("honest").device);
    assert!(
        text.contains("password") && !text.contains("hush"),
        "{text}"
    );
}

#[tokio::test]
async fn a_new_secret_goes_to_the_device_that_it_is_for_and_to_no_other() {
    let bench = Bench::new("honest");
    let named = |name: &str| DeviceName::new(name).unwrap();
    let devices = |change: &dyn Fn(&mut FenceDevice)| -> Devices {
        let mut changed = bench.device.clone();
        change(&mut changed);
        [(named("pdu"), changed)].into()
    };
    let secret = |device: &mut FenceDevice| {
        device.secrets = [("password".into(), "fresh".into())].into();
    };
    let moved = |device: &mut FenceDevice| {
        secret(device);
        device.options.insert("ip".into(), "10.0.9.2".into());
    };
    let old = devices(&|_| {});
    let mut more = devices(&secret);
    more.insert(named("other"), bench.device.clone());
    for (new, wanted) in [
        (devices(&secret), devices(&secret)),
        (more, devices(&secret)),
        (devices(&moved), old.clone()),
        (Devices::new(), old.clone()),
    ] {
        let mut renewed = old.clone();
        renew_secrets(&mut renewed, &new);
        assert_eq!(renewed, wanted);
    }
    let (mut fencer, mut answers) = Fencer::new(old);
    fencer.renew(devices(&secret));
    fencer.ask(FenceCall {
        id: FenceCallId(1),
        device: named("pdu"),
        node: Some(node()),
        verb: FenceVerb::Status,
        timeout: Millis::from_secs(20),
    });
    assert_eq!(answers.recv().await.unwrap().answer, FenceAnswer::PowerOn);
    assert!(bench.file("stdin.status").contains("password=fresh\n"));
}
