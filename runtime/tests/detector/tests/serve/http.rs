//! A running service, and a client that says no more than it is told to.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{BLUE, Folder, GREEN, RED};

/// A service on a port of its own. It is killed when this is dropped.
pub struct Service {
    pub child: Child,
    pub port: u16,
    pub folder: Folder,
    log: Arc<Mutex<String>>,
}

impl Service {
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts `serve` with variables of the environment and waits until it takes requests.
    pub fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let service = Self::launch(args, variables);
        service.wait_until(|| service.get("/v2/health/ready").status == 200);
        service
    }

    /// Starts `serve` of a program, or of the stand-in.
    pub fn start_program(program: Option<&OsStr>, args: &[&str]) -> Self {
        let service = Self::launch_program(program, args, &[]);
        service.wait_until(|| service.get("/v2/health/ready").status == 200);
        service
    }

    /// Starts `serve` and waits until it listens.
    pub fn launch(args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::launch_program(None, args, variables)
    }

    /// Starts `serve` of one model of the program and waits until it takes requests.
    pub fn launch_chosen(model: &str, variables: &[(&str, &str)]) -> Self {
        let service = Self::launch_command(None, &["--model", model, "serve", "--port", "0"], variables);
        service.wait_until(|| service.get("/v2/health/ready").status == 200);
        service
    }

    fn launch_program(program: Option<&OsStr>, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let any_port = if args.contains(&"--port") { &[][..] } else { &["--port", "0"] };
        Self::launch_command(program, &[&["serve"], any_port, args].concat(), variables)
    }

    fn launch_command(program: Option<&OsStr>, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let mut command = match program {
            Some(program) => Command::new(program),
            None => folder.command(&[]),
        };
        command.args(args).env_remove("PERISTYLE_API_KEY").envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, lines) = (child.stderr.take().expect("piped"), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *lines.lock().unwrap() += &(line + "\n");
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let port = line.trim().rsplit_once(':').and_then(|(start, port)| {
            assert!(start.starts_with("Serving ") && start.ends_with(" on http://127.0.0.1"), "{line}");
            port.parse().ok()
        });
        let port = port.unwrap_or_else(|| panic!("{line:?}, {}", log.lock().unwrap()));
        Self { child, port, folder, log }
    }

    /// What was logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Asks again and again, for a few seconds.
    pub fn wait_until(&self, mut done: impl FnMut() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(20), "it never happens; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A figure of `/metrics`: the sum of all lines that start so.
    pub fn metric(&self, start: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number")).sum()
    }

    pub fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the service listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Connection { stream: BufReader::new(stream) }
    }

    pub fn get(&self, path: &str) -> Reply {
        self.connect().ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        self.connect().ask("POST", path, &[("content-type", content_type)], body)
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.post(path, "application/json", body.to_string().as_bytes())
    }

    /// Posts parts, each a name and bytes, as a browser does.
    pub fn post_form(&self, path: &str, parts: &[(&str, &[u8])]) -> Reply {
        let body = form(parts);
        self.post(path, "multipart/form-data; boundary=XX-form-XX", &body)
    }

    /// Asks the service to end.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.expect("kill is there").success());
    }

    /// The exit code, which must come within seconds.
    pub fn exit_code(&mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end; the log:\n{}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        let head = format!("--XX-form-XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
        body.extend(head.as_bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--XX-form-XX--\r\n");
    body
}

/// A connection that may be asked several times.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the service reads");
    }

    /// Sends without minding a service that has closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(&head(method, path, headers, body.len()));
        self.send(body);
        self.reply()
    }

    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("an answer")
    }

    /// An answer, or nothing when the service closed the connection.
    pub fn try_reply(&mut self) -> Option<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        if status == 100 {
            return self.try_reply();
        }
        let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        reply.body.resize(length, 0);
        self.stream.read_exact(&mut reply.body).ok()?;
        Some(reply)
    }

    /// Whether the service closes the connection within a few seconds.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if length > 0 {
        head += &format!("content-length: {length}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a refusal of a kind, and gives its message.
    pub fn refusal(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body = self.json();
        assert_eq!(body["error"]["type"], kind, "{body}");
        assert_eq!(body.as_object().unwrap().len(), 1);
        body["error"]["message"].as_str().expect("a message").to_owned()
    }
}

/// A picture of the size of the network input with a person, a bus and a tie, as a PNG file.
pub fn street() -> Vec<u8> {
    let folder = Folder::new();
    std::fs::read(folder.street("street.png")).unwrap()
}

/// A picture with nothing on it.
pub fn empty() -> Vec<u8> {
    let folder = Folder::new();
    std::fs::read(folder.picture("empty.png", [32, 32], &[])).unwrap()
}

/// A wide picture with a person.
pub fn wide() -> Vec<u8> {
    let folder = Folder::new();
    let patches = [(RED, [20, 40, 80, 200]), (GREEN, [100, 60, 220, 180]), (BLUE, [40, 80, 60, 120])];
    std::fs::read(folder.picture("wide.png", [256, 256], &patches)).unwrap()
}
