//! The configuration file of `serve`, in the YAML of `deepsparse.server`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

use super::super::class_names;
use super::super::model::find;
use crate::app::failure::Failure;
use crate::app::serve::params::{NAMES, Wanted};
use crate::app::serve::settings::{EndpointSettings, Limits};
use crate::app::{Compiled, coco};
use crate::detect::Params;
use crate::engine::ModelSpec;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub host: Option<IpAddr>,
    pub port: Option<u16>,
    pub num_cores: Option<usize>,
    pub streams: Option<usize>,
    pub max_batch: Option<usize>,
    pub max_wait_ms: Option<u64>,
    pub queue: Option<usize>,
    pub endpoints: Vec<EndpointSettings>,
    /// What has no effect, and why.
    pub notes: Vec<(&'static str, &'static str)>,
}

/// What a request gets when neither it nor the file says more.
pub(super) struct Defaults<'a> {
    pub params: &'a Params,
    pub limits: &'a Limits,
    pub task: &'a str,
}

/// Keys of other servers that change nothing here.
const IGNORED: [(&str, &str); 9] = [
    ("integration", "SageMaker's paths are always there"),
    ("engine_thread_pinning", "threads are placed by the system"),
    ("pytorch_num_threads", "there is no PyTorch"),
    ("loggers", "metrics are at /metrics"),
    ("system_logging", "metrics are at /metrics"),
    ("logging_config", "metrics are at /metrics"),
    ("data_logging", "metrics are at /metrics"),
    ("bucketing", "images of every size are fitted into the input that the model was compiled for"),
    ("middlewares", "there are none"),
];

/// First parts of paths that are taken.
const RESERVED: [&str; 12] = [
    "",
    "v2",
    "docs",
    "openapi.json",
    "config",
    "metrics",
    "ping",
    "health",
    "healthcheck",
    "status",
    "invocations",
    "page",
];

/// Reads the file at `path` for a program of `models`.
///
/// # Errors
/// [`Failure::Usage`] that names the file and the key.
pub(super) fn read(path: &Path, models: &[Compiled], defaults: &Defaults<'_>) -> Result<ConfigFile, Failure> {
    let failed = |message: String| Failure::Usage(format!("--config-file {}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let specs: Vec<&'static ModelSpec> = models.iter().map(|model| model.spec).collect();
    parse(&text, &specs, defaults).map_err(failed)
}

fn parse(text: &str, models: &[&'static ModelSpec], defaults: &Defaults<'_>) -> Result<ConfigFile, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| format!("not YAML: {error}"))?;
    let Some(Value::Object(top)) = documents.first().map(json) else {
        return Err("expected keys and values, such as `endpoints:` and a list".into());
    };
    let mut file = ConfigFile::default();
    for (key, value) in &top {
        match key.as_str() {
            "host" => {
                let host = value.as_str().and_then(|text| super::address(text).ok());
                file.host = Some(host.ok_or("`host` must be an address such as 0.0.0.0")?);
            }
            "port" => file.port = Some(whole(key, value)?.try_into().map_err(|_| "`port` must be below 65536")?),
            "num_cores" => file.num_cores = optional(key, value)?,
            "num_workers" | "streams" => file.streams = optional(key, value)?,
            "max_batch" => file.max_batch = Some(positive(key, value)?),
            "max_wait_ms" => file.max_wait_ms = Some(whole(key, value)?),
            "queue" => file.queue = Some(positive(key, value)?),
            "endpoints" => {
                let list = value.as_array().ok_or("`endpoints` must be a list")?;
                for (index, value) in list.iter().enumerate() {
                    let endpoint = endpoint(index, value, models, defaults, &mut file);
                    file.endpoints.push(endpoint.map_err(|error| format!("endpoints[{index}]: {error}"))?);
                }
            }
            _ => {
                ignore(key, &mut file, "host, port, num_cores, num_workers, max_batch, max_wait_ms, queue, endpoints")?
            }
        }
    }
    if file.endpoints.is_empty() {
        return Err("`endpoints` is missing or empty: expected a list of `- task: yolo`".into());
    }
    check_unique(&file.endpoints)?;
    Ok(file)
}

fn endpoint(
    index: usize,
    value: &Value,
    models: &[&'static ModelSpec],
    defaults: &Defaults<'_>,
    file: &mut ConfigFile,
) -> Result<EndpointSettings, String> {
    let fields = value.as_object().ok_or("expected keys and values, such as `task: yolo`")?;
    let text = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}` is {other}: expected a text")),
    };
    let none = Map::new();
    let kwargs = match fields.get("kwargs") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(kwargs)) => kwargs,
        Some(other) => return Err(format!("`kwargs` is {other}: expected keys and values")),
    };
    let model = model(text("model")?.as_deref(), models, file)?;
    let spec = models[model];
    let classes = spec.detector.as_ref().ok_or_else(|| format!("{} is not a detector", spec.source))?.classes;
    let names = match kwargs.get("class_names") {
        None | Some(Value::Null) => spec.class_names.iter().map(|name| (*name).to_owned()).collect(),
        Some(names) => class_names_of(names, classes)?,
    };
    let mut wanted = Wanted::new(defaults.params, &names, classes, defaults.limits);
    for (key, value) in kwargs {
        match key.as_str() {
            "class_names" => {}
            "image_size" => expect_size(value, spec)?,
            "format" => return Err("`format` belongs into requests".into()),
            key if NAMES.contains(&key) => wanted.value(key, value).map_err(|refusal| refusal.message)?,
            _ => {
                return Err(format!(
                    "kwargs: `{key}` is not known; known are class_names, image_size, {}",
                    NAMES.join(", ")
                ));
            }
        }
    }
    let params = wanted.params;
    for (key, value) in fields {
        match key.as_str() {
            "name" | "route" | "task" | "model" | "kwargs" => {}
            "batch_size" => file.max_batch = file.max_batch.max(optional(key, value)?),
            key => ignore(key, file, "name, route, task, model, batch_size, kwargs")?,
        }
    }
    let task = text("task")?.unwrap_or_else(|| defaults.task.to_owned());
    let name = text("name")?.unwrap_or_else(|| format!("{task}-{index}"));
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b));
    if name.is_empty() || !is_plain(&name) {
        return Err(format!("`name` is {name:?}: expected letters, digits, `-`, `_` and `.`"));
    }
    let route = text("route")?.map(|route| format!("/{}", route.trim_matches('/')));
    if let Some(route) = &route {
        let mut parts = route[1..].split('/');
        if !parts.clone().all(|part| !part.is_empty() && is_plain(part)) {
            return Err(format!("`route` is {route:?}: expected a path such as /predict"));
        }
        if parts.next().is_some_and(|first| RESERVED.contains(&first)) || route.ends_with("/from_files") {
            return Err(format!("`route` {route} is taken by the service itself; choose another"));
        }
    }
    Ok(EndpointSettings { name, route, task, model, defaults: params, class_names: names })
}

/// The model that a text names.
fn model(wanted: Option<&str>, models: &[&'static ModelSpec], file: &mut ConfigFile) -> Result<usize, String> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != "default") else { return Ok(0) };
    match find(models, wanted) {
        Err(_) if models.len() == 1 => {
            note(file, "model", "one model is compiled in, and no other is read");
            Ok(0)
        }
        found => found,
    }
}

fn class_names_of(names: &Value, classes: usize) -> Result<Vec<String>, String> {
    let names = match names {
        Value::String(text) if text == "coco" => coco::NAMES.map(str::to_owned).to_vec(),
        Value::String(text) => match class_names::read(text, classes) {
            Ok(names) => names,
            Err(Failure::Usage(message) | Failure::Failed(message)) => return Err(message),
            Err(_) => return Err(format!("cannot read {text}")),
        },
        listed => class_names::from_value(listed.clone())?,
    };
    if names.len() != classes {
        return Err(format!("`class_names`: {} names for a model of {classes} classes", names.len()));
    }
    Ok(names)
}

fn expect_size(value: &Value, spec: &ModelSpec) -> Result<(), String> {
    let numbers: Option<Vec<u64>> = match value {
        Value::Array(list) => list.iter().map(Value::as_u64).collect(),
        one => one.as_u64().map(|n| vec![n]),
    };
    let shape = spec.inputs.first().map_or(&[][..], |input| input.shape.get(2..).unwrap_or_default());
    let fits =
        numbers.is_some_and(|n| !n.is_empty() && n.len() <= 2 && shape == [n[0] as usize, n[n.len() - 1] as usize]);
    let advice = "compile it for another with `peristyle build MODEL --imgsz`";
    if fits { Ok(()) } else { Err(format!("`image_size` is {value}: {} takes {shape:?}; {advice}", spec.source)) }
}

fn check_unique(endpoints: &[EndpointSettings]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (at, endpoint) in endpoints.iter().enumerate() {
        if !seen.insert(&endpoint.name) {
            return Err(format!("endpoints[{at}]: the name {:?} is taken by another endpoint", endpoint.name));
        }
        if let Some(route) = &endpoint.route
            && !seen.insert(route)
        {
            return Err(format!("endpoints[{at}]: the route {route} is taken by another endpoint"));
        }
    }
    Ok(())
}

fn note(file: &mut ConfigFile, key: &'static str, why: &'static str) {
    if !file.notes.contains(&(key, why)) {
        file.notes.push((key, why));
    }
}

fn ignore(key: &str, file: &mut ConfigFile, known: &str) -> Result<(), String> {
    let (key, why) = IGNORED
        .into_iter()
        .find(|(ignored, _)| *ignored == key)
        .ok_or_else(|| format!("`{key}` is not known; known are {known}"))?;
    note(file, key, why);
    Ok(())
}

fn whole(key: &str, value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("`{key}` is {value}: expected a whole number"))
}

fn positive(key: &str, value: &Value) -> Result<usize, String> {
    let number = whole(key, value)?;
    usize::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("`{key}` must be above 0"))
}

/// `null` is nothing said.
fn optional(key: &str, value: &Value) -> Result<Option<usize>, String> {
    if value.is_null() { Ok(None) } else { positive(key, value).map(Some) }
}

/// The same in JSON.
fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(text) => text.parse::<f64>().map_or_else(|_| Value::from(text.as_str()), Value::from),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Boolean(truth) => Value::from(*truth),
        Yaml::Array(list) => list.iter().map(json).collect(),
        Yaml::Hash(hash) => {
            let key = |key: &Yaml| match json(key) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(hash.iter().map(|(name, value)| (key(name), json(value))).collect())
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{DType, DetectorSpec, Head, TensorSpec};

    static A: ModelSpec = ModelSpec {
        name: "cars",
        source: "cars-v2.onnx",
        sha256: "",
        compiler: "",
        batch: 1,
        inputs: &[TensorSpec { name: "images", dtype: DType::U8, shape: &[1, 3, 64, 32] }],
        outputs: &[],
        class_names: &["car", "van"],
        detector: Some(DetectorSpec { classes: 2, head: Head::Decoded }),
        weights: (0, 0),
        macs: (0, 0),
    };
    static B: ModelSpec = ModelSpec { name: "people", source: "people.onnx", ..A };

    fn read(text: &str, models: &[&'static ModelSpec]) -> Result<ConfigFile, String> {
        let (params, limits) = (Params::default(), Limits::default());
        parse(text, models, &Defaults { params: &params, limits: &limits, task: "yolo" })
    }

    const FULL: &str = "
num_cores: 2
num_workers: null
pytorch_num_threads: 1
loggers: {prometheus: {port: 6100}}
endpoints:
  - task: yolo
    model: people
    batch_size: 4
    kwargs: {conf_thres: 0.5, iou_thres: .6, classes: [van], class_names: {0: car, 1: van}, image_size: [64, 32]}
  - name: cars
    route: predict
    model: models/cars-v2.onnx
    kwargs: {class_names: [x, y], max_det: 5, multi_label: true}
";

    #[test]
    fn files_of_deepsparse_are_understood() {
        let file = read(FULL, &[&A, &B]).unwrap();
        assert_eq!((file.num_cores, file.streams, file.max_batch), (Some(2), None, Some(4)));
        assert_eq!(file.notes.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["loggers", "pytorch_num_threads"]);
        let [first, second] = &file.endpoints[..] else { panic!("{file:?}") };
        assert_eq!((first.name.as_str(), &first.route, first.model), ("yolo-0", &None, 1));
        assert_eq!((first.defaults.conf_thres, first.defaults.iou_thres), (0.5, 0.6));
        assert_eq!((&first.defaults.classes, &first.class_names[1]), (&Some(vec![1]), &"van".to_owned()));
        assert_eq!((second.name.as_str(), second.route.as_deref(), second.model), ("cars", Some("/predict"), 0));
        assert!(second.defaults.multi_label && second.defaults.max_det == 5 && second.class_names == ["x", "y"]);
        let stub = read("endpoints: [{task: yolo, model: 'zoo:cv/detection/yolov5-s/base-none'}]", &[&A]).unwrap();
        assert_eq!((stub.endpoints[0].model, stub.notes.len()), (0, 1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            ("", "expected keys and values"),
            ("a: [", "not YAML"),
            ("num_cores: 2", "`endpoints` is missing or empty"),
            ("endpoints: [{}]\nnum_core: 2", "`num_core` is not known; known are host, port, num_cores"),
            ("endpoints: [{}]\nqueue: 0", "`queue` must be above 0"),
            ("endpoints: [3]", "endpoints[0]: expected keys and values"),
            ("endpoints: [{}, {routes: /a}]", "endpoints[1]: `routes` is not known; known are name, route"),
            ("endpoints: [{name: a/b}]", "endpoints[0]: `name` is \"a/b\""),
            ("endpoints: [{route: '/a/{b}'}]", "`route` is \"/a/{b}\": expected a path"),
            ("endpoints: [{route: /v2/x}]", "taken by the service itself"),
            ("endpoints: [{name: a}, {name: a}]", "endpoints[1]: the name \"a\" is taken"),
            ("endpoints: [{route: /a}, {route: a/}]", "endpoints[1]: the route /a is taken"),
            ("endpoints: [{model: dogs}]", "no model is called \"dogs\"; this program holds cars, people"),
            ("endpoints: [{kwargs: {conf_thres: 2}}]", "`conf_thres` is 2: expected a number from 0 to 1"),
            ("endpoints: [{kwargs: {conf: 2}}]", "kwargs: `conf` is not known"),
            ("endpoints: [{kwargs: {image_size: 640}}]", "cars-v2.onnx takes [64, 32]; compile it for another"),
            ("endpoints: [{kwargs: {class_names: [a]}}]", "1 names for a model of 2 classes"),
            ("endpoints: [{kwargs: {class_names: coco}}]", "80 names for a model of 2 classes"),
        ] {
            let said = read(text, &[&A, &B]).unwrap_err();
            assert!(said.contains(message), "{text}: {said}");
        }
    }
}
