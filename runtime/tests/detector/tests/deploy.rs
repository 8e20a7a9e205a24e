//! What `runtime/deploy` tells others to run. Its schemas are checked by `pip install kubernetes-validate`;
//! `PERISTYLE_PYTHON` names another Python than `python3`.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::service::Service;
use yaml_rust2::{Yaml, YamlLoader};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)
}

fn documents() -> Vec<Yaml> {
    let text = std::fs::read_to_string(deploy("kubernetes.yaml")).unwrap();
    YamlLoader::load_from_str(&text).unwrap()
}

fn of_kind(kind: &str) -> Yaml {
    documents().into_iter().find(|document| document["kind"].as_str() == Some(kind)).expect(kind)
}

#[test]
fn manifests_are_valid() {
    let python = std::env::var("PERISTYLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let validate =
        |arguments: &[&str]| Command::new(&python).args(["-m", "kubernetes_validate"]).args(arguments).output();
    if !validate(&["--version"]).is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no kubernetes-validate here; pip install kubernetes-validate");
        return;
    }
    let file = deploy("kubernetes.yaml");
    for version in ["1.25", "1.33"] {
        let output = validate(&["--strict", "-k", version, file.to_str().unwrap()]).unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("passed for resource").count(), documents().len(), "{said}");
    }
    // A validator that lets everything pass would prove nothing.
    let wrong = std::fs::read_to_string(&file).unwrap().replace("failureThreshold: 60", "failureThreshold: often");
    let folder = support::Folder::new();
    std::fs::write(folder.join("wrong.yaml"), wrong).unwrap();
    let output = validate(&["--strict", "-k", "1.33", folder.join("wrong.yaml").to_str().unwrap()]).unwrap();
    assert!(!output.status.success());
}

/// The program takes the arguments of the manifest, and has the paths and the metric that it names.
#[test]
fn manifests_and_the_program_agree() {
    let deployment = of_kind("Deployment");
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let args: Vec<&str> = container["args"].as_vec().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let port = container["ports"][0]["containerPort"].as_i64().unwrap();
    assert_eq!(port, 5543);
    let here: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with("--host=")).collect();
    assert_eq!(here.len() + 1, args.len());
    let service = Service::start_from(&[&here[..], &["--port", "0"]].concat(), None);
    let started = Instant::now();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        while ureq::get(service.url(path)).call().is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "{path} does not answer 200");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let scraped = &pod["metadata"]["annotations"];
    assert_eq!(scraped["prometheus.io/port"].as_str(), Some("5543"));
    let metrics = service.get(scraped["prometheus.io/path"].as_str().unwrap());
    let scaler = of_kind("HorizontalPodAutoscaler");
    let metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().unwrap();
    assert!(metrics.lines().any(|line| line.split([' ', '{']).next() == Some(metric)), "{metrics}");
    let adapter = std::fs::read_to_string(deploy("prometheus-adapter.yaml")).unwrap();
    assert!(adapter.contains(&format!("seriesQuery: {metric}{{")));

    // What must be over before the pod is killed.
    let milliseconds = |name: &str| -> i64 {
        let value = args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
        value.expect(name).parse().unwrap()
    };
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap();
    assert!(grace * 1000 > milliseconds("--drain-delay-ms") + milliseconds("--drain-timeout-ms"));
}

/// Every resource selects the same pods.
#[test]
fn labels_agree() {
    let label = |yaml: &Yaml| yaml["app.kubernetes.io/name"].as_str().map(str::to_owned);
    let deployment = of_kind("Deployment");
    let expected = label(&deployment["spec"]["template"]["metadata"]["labels"]);
    assert!(expected.is_some());
    assert_eq!(label(&deployment["spec"]["selector"]["matchLabels"]), expected);
    assert_eq!(label(&of_kind("Service")["spec"]["selector"]), expected);
    assert_eq!(label(&of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]), expected);
    let target = of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"].as_str().map(str::to_owned);
    assert_eq!(target.as_deref(), deployment["metadata"]["name"].as_str());
}
