//! The description of the service, for programs and for people.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::settings::Settings;
use crate::app::Compiled;

/// The description, kept by hand; a test holds it against the routes.
const OPENAPI: &str = include_str!("openapi.json");

/// The page around its sections.
const PAGE: &str = include_str!("docs.html");

/// The methods of a path in the description.
const METHODS: [&str; 2] = ["get", "post"];

fn document(settings: &Settings, models: &[Compiled]) -> Value {
    let mut document: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document["info"]["x-model"] = models[0].spec.source.into();
    let names: Vec<&str> = settings.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    document["components"]["parameters"]["name"]["schema"]["enum"] = json!(names);
    let paths = document["paths"].as_object_mut().expect("paths are an object");
    let own: Vec<&String> = settings.endpoints.iter().filter_map(|endpoint| endpoint.route.as_ref()).collect();
    for route in own {
        for (of, to) in [("/predict", route.clone()), ("/predict/from_files", format!("{route}/from_files"))] {
            if !paths.contains_key(&to) {
                let mut path = paths[of].clone();
                let id = to.trim_start_matches('/').replace('/', "_");
                path["post"]["operationId"] = id.into();
                paths.insert(to, path);
            }
        }
    }
    if settings.api_key.is_none() {
        document["components"].as_object_mut().expect("an object").remove("securitySchemes");
        for (_, path) in document["paths"].as_object_mut().expect("an object") {
            for method in METHODS {
                if let Some(operation) = path.get_mut(method).and_then(Value::as_object_mut) {
                    operation.remove("security");
                    operation["responses"].as_object_mut().expect("an object").remove("401");
                }
            }
        }
    }
    document
}

/// The document at `/openapi.json`.
pub fn openapi(settings: &Settings, models: &[Compiled]) -> Vec<u8> {
    serde_json::to_vec(&document(settings, models)).expect("a document has a JSON form")
}

/// The page at `/docs`: the same for people. It needs nothing but itself.
pub fn page(settings: &Settings, models: &[Compiled]) -> Vec<u8> {
    let document = document(settings, models);
    let title = escaped(document["info"]["title"].as_str().unwrap_or_default());
    let model = escaped(models[0].spec.source);
    let about = escaped(document["info"]["description"].as_str().unwrap_or_default());
    let mut sections = String::new();
    let none = Map::new();
    for (path, methods) in document["paths"].as_object().unwrap_or(&none) {
        for method in METHODS {
            if let Some(operation) = methods.get(method) {
                sections += &section(path, method, operation, &document);
            }
        }
    }
    let texts = [("{title}", title), ("{model}", model), ("{about}", about), ("{sections}", sections)];
    texts.iter().fold(PAGE.to_owned(), |page, (place, text)| page.replace(place, text)).into_bytes()
}

fn section(path: &str, method: &str, operation: &Value, document: &Value) -> String {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let mut html = format!(
        "<details><summary><b class=\"{method}\">{}</b> <code>{}</code> {}</summary><p>{}</p>",
        method.to_uppercase(),
        escaped(path),
        text(&operation["summary"]),
        text(&operation["description"])
    );
    let mut table = |title: &str, rows: Vec<[String; 2]>| {
        if !rows.is_empty() {
            write!(html, "<table><caption>{title}</caption>").expect("writing to a string succeeds");
            for [name, about] in rows {
                write!(html, "<tr><th scope=\"row\"><code>{name}</code></th><td>{about}</td></tr>")
                    .expect("writing to a string succeeds");
            }
            html += "</table>";
        }
    };
    let followed = |value: &'_ Value| match value["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(path) => document.pointer(path).cloned().unwrap_or_default(),
        None => value.clone(),
    };
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(followed);
    table("Parameters", parameters.map(|p| [text(&p["name"]), text(&p["description"])]).collect());
    let bodies = followed(&operation["requestBody"]);
    let bodies = bodies["content"].as_object().into_iter().flatten();
    table(
        "Body",
        bodies.map(|(kind, body)| [escaped(kind), text(&followed(&body["schema"])["description"])]).collect(),
    );
    let responses = operation["responses"].as_object().into_iter().flatten();
    table("Answers", responses.map(|(status, r)| [escaped(status), text(&followed(r)["description"])]).collect());
    html + "</details>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
