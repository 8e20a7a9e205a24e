//! Headless Chromium through its driver, in the words of the W3C's WebDriver protocol.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const PATIENCE: Duration = Duration::from_secs(20);

/// The code of the key that moves a slider one step up.
pub const RIGHT: &str = "\u{e014}";

/// A browser with one window. It and its driver end with it.
pub struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
}

impl Browser {
    /// `None`, said aloud, when this machine has no Chromium or no driver for it.
    ///
    /// The camera shows `film`, a .y4m file.
    pub fn start([width, height]: [u32; 2], film: &Path) -> Option<Self> {
        for program in ["chromium", "chromedriver"] {
            if !Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()) {
                eprintln!("SKIPPED: no `{program}` here; apt-get install chromium chromium-driver");
                return None;
            }
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().expect("chromedriver starts");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(3 * PATIENCE));
        let agent: ureq::Agent = config.build().into();
        let mut browser = Self { driver, session: format!("http://127.0.0.1:{port}/session"), agent };
        let args = [
            "--headless=new".into(),
            "--no-sandbox".into(),
            "--disable-dev-shm-usage".into(),
            format!("--window-size={width},{height}"),
            "--use-fake-ui-for-media-stream".into(),
            "--use-fake-device-for-media-stream".into(),
            format!("--use-file-for-fake-video-capture={}", film.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": args } } } });
        let until = Instant::now() + PATIENCE;
        let opened = loop {
            match browser.agent.post(&browser.session).send_json(&wanted) {
                Ok(mut answer) => break answer.body_mut().read_json::<Value>().expect("JSON"),
                Err(error) if Instant::now() > until => panic!("chromedriver does not answer: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let id = opened["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {opened}"));
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.agent.post(format!("{}/{path}", self.session)).send_json(body);
        let mut answer: Value = answer.expect("chromedriver answers").body_mut().read_json().expect("JSON");
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{path}: {error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].take()),
        }
    }

    pub fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url })).unwrap();
    }

    /// What the body of a function returns in the page.
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] })).unwrap()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector })).unwrap();
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    pub fn click(&self, selector: &str) {
        self.post(&format!("element/{}/click", self.element(selector)), &json!({})).unwrap();
    }

    /// Types into a field, or chooses the file of this path.
    pub fn send(&self, selector: &str, text: &str) {
        self.post(&format!("element/{}/value", self.element(selector)), &json!({ "text": text })).unwrap();
    }

    /// Presses a key a number of times wherever the focus is.
    pub fn press(&self, key: &str, times: usize) {
        let once = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let actions: Vec<&Value> = (0..times).flat_map(|_| &once).collect();
        self.post("actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] })).unwrap();
    }

    /// Waits until an expression in the page has a value.
    pub fn expect(&self, expression: &str, value: impl Into<Value>) {
        let (value, until) = (value.into(), Instant::now() + PATIENCE);
        loop {
            let now = self.run(&format!("return {expression}"));
            if now == value {
                return;
            }
            assert!(Instant::now() < until, "{expression} stays {now}, not {value}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Saves what the window shows.
    pub fn screenshot(&self, path: &Path) {
        let mut answer = self.agent.get(format!("{}/screenshot", self.session)).call().expect("chromedriver answers");
        let answer: Value = answer.body_mut().read_json().expect("JSON");
        let picture = STANDARD.decode(answer["value"].as_str().expect("a picture")).expect("base64");
        std::fs::write(path, picture).expect("writable");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
