//! The service against its own description. Needs `pip install schemathesis`; `PERISTYLE_PYTHON` names another Python
//! than `python3`.

mod support;

use std::path::Path;
use std::process::Command;

use support::service::Service;

#[test]
fn the_service_does_what_its_description_says() {
    let python = std::env::var("PERISTYLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let schemathesis = || {
        let mut command = Command::new(&python);
        command.args(["-c", "from schemathesis.cli import schemathesis; schemathesis()"]);
        command.current_dir(env!("CARGO_TARGET_TMPDIR"));
        command
    };
    if !schemathesis().arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no schemathesis here; pip install schemathesis");
        return;
    }
    let service = Service::start(&[]);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis.toml");
    let mut command = schemathesis();
    command.arg("--config-file").arg(config).args(["run", &service.url("/openapi.json"), "--no-color"]);
    // The same requests every time.
    command.args(["--seed", "1", "--max-examples", "20"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.parse::<usize>().ok());
    assert!(output.status.success() && tested.is_some_and(|operations| operations >= 20), "{said}");
    assert_eq!(service.get("/v2/health/ready"), "{\"status\":\"OK\"}");
}
