//! A running service.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::Folder;

/// `serve` on a port of its own. It ends with it.
pub struct Service {
    process: Child,
    address: String,
    _folder: Folder,
}

impl Service {
    pub fn start(args: &[&str]) -> Self {
        Self::start_from(&[&["serve", "--port", "0"], args].concat(), None)
    }

    pub fn start_with_key(key: &str, args: &[&str]) -> Self {
        Self::start_from(&[&["serve", "--port", "0"], args].concat(), Some(key))
    }

    /// Starts the program with these arguments and waits until it listens.
    pub fn start_from(args: &[&str], key: Option<&str>) -> Self {
        let folder = Folder::new();
        let mut command = folder.command(args);
        command.env_remove("PERISTYLE_API_KEY");
        if let Some(key) = key {
            command.env("PERISTYLE_API_KEY", key);
        }
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("piped")).read_line(&mut line).expect("UTF-8");
        let address =
            line.trim_end().split("http://").nth(1).unwrap_or_else(|| panic!("{args:?}: {line:?}")).to_owned();
        Self { process, address, _folder: folder }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The body of what answers a GET with 200.
    pub fn get(&self, path: &str) -> String {
        let answer = ureq::get(self.url(path)).call();
        answer.unwrap_or_else(|e| panic!("{path}: {e}")).body_mut().read_to_string().expect("UTF-8")
    }

    /// The JSON that answers a POST with 200.
    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> Value {
        let answer = ureq::post(self.url(path)).header("content-type", kind).send(body);
        answer.unwrap_or_else(|error| panic!("{path}: {error}")).body_mut().read_json().expect("JSON")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
