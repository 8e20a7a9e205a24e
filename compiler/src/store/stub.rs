//! The names that SparseZoo gave to models, in both of its grammars.

use super::error::StubFault;
use std::fmt;
use std::str::FromStr;

/// What a stub may start with.
pub const PREFIX: &str = "zoo:";

/// Parts of a stub of the first grammar.
const PARTS: usize = 7;

/// Values of the parameters that have a fixed choice.
const CHECKPOINTS: &[&str] = &["prepruning", "postpruning", "preqat", "postqat"];
const DEPLOYMENTS: &[&str] = &["default"];

/// A stub. Its text form starts with `zoo:` and parses to the same stub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Which model.
    pub path: StubPath,
    /// Parameters behind the `?`, in their order.
    pub parameters: Vec<(String, String)>,
}

/// The two grammars.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StubPath {
    /// `cv/detection/yolov5-s/pytorch/ultralytics/coco/pruned65_quant-none`.
    First {
        domain: String,
        sub_domain: String,
        architecture: Joined,
        framework: String,
        repository: String,
        /// The dataset, and the one it was trained further on.
        dataset: Joined,
        tag: String,
    },
    /// `yolov5-s-coco-pruned75_quantized`.
    Second { architecture: Joined, source_dataset: String, training_dataset: Option<String>, tag: String },
}

/// A name and, behind a hyphen, what it is narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Joined {
    pub name: String,
    pub sub: Option<String>,
}

impl Stub {
    /// Value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// What to call the model.
    pub fn name(&self) -> String {
        match &self.path {
            StubPath::First { architecture, tag, .. } => format!("{architecture}-{tag}"),
            second => second.to_string(),
        }
    }

    /// Relative paths at which people and SparseZoo itself keep the model, the likeliest first.
    pub fn folders(&self) -> Vec<String> {
        let path = self.path.to_string();
        match &self.path {
            StubPath::First { architecture, dataset, tag, .. } => {
                // `pruned65_quant-none` became `pruned65_quantized`, `base-none` became `base`.
                let short = tag.strip_suffix("-none").unwrap_or(tag);
                let short =
                    short.strip_suffix("_quant").map_or(short.to_string(), |start| format!("{start}_quantized"));
                let second = format!("{architecture}-{dataset}-{short}");
                let long = format!("{architecture}-{dataset}-{tag}");
                let mut folders = vec![path, format!("neuralmagic/{second}"), second, long, self.name()];
                folders.dedup();
                folders
            }
            StubPath::Second { .. } => vec![path.clone(), format!("neuralmagic/{path}")],
        }
    }
}

impl FromStr for Stub {
    type Err = StubFault;

    fn from_str(text: &str) -> Result<Stub, StubFault> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let (path, parameters) = match text.split_once('?') {
            Some((path, parameters)) => (path, parameters.split('&').map(parameter).collect::<Result<_, _>>()?),
            None => (text, Vec::new()),
        };
        Ok(Stub { path: path.parse()?, parameters })
    }
}

impl FromStr for StubPath {
    type Err = StubFault;

    fn from_str(text: &str) -> Result<StubPath, StubFault> {
        let parts: Vec<&str> = text.split('/').collect();
        if let [only] = parts[..] {
            return second(only);
        }
        let Ok([domain, sub_domain, architecture, framework, repository, dataset, tag]) =
            <[&str; PARTS]>::try_from(parts)
        else {
            return Err(StubFault::Form);
        };
        Ok(StubPath::First {
            domain: word(domain)?,
            sub_domain: word(sub_domain)?,
            architecture: joined(architecture)?,
            framework: word(framework)?,
            repository: word(repository)?,
            dataset: joined(dataset)?,
            tag: tag.split('-').try_for_each(|part| word(part).map(|_| ())).map(|()| tag.to_string())?,
        })
    }
}

/// `yolov5-s-coco-pruned75_quantized`: of four words the second narrows the architecture.
fn second(text: &str) -> Result<StubPath, StubFault> {
    let words: Vec<&str> = text.split('-').collect();
    let (name, sub, source, training, tag) = match words[..] {
        [name, source, tag] => (name, None, source, None, tag),
        [name, sub, source, tag] => (name, Some(sub), source, None, tag),
        [name, sub, source, training, tag] => (name, Some(sub), source, Some(training), tag),
        _ => return Err(StubFault::Form),
    };
    Ok(StubPath::Second {
        architecture: Joined { name: word(name)?, sub: sub.map(word).transpose()? },
        source_dataset: word(source)?,
        training_dataset: training.map(word).transpose()?,
        tag: word(tag)?,
    })
}

fn joined(text: &str) -> Result<Joined, StubFault> {
    match text.split_once('-') {
        None => Ok(Joined { name: word(text)?, sub: None }),
        Some((name, sub)) => Ok(Joined { name: word(name)?, sub: Some(word(sub)?) }),
    }
}

fn word(text: &str) -> Result<String, StubFault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    // `.` and `..` are steps of a path.
    let step = text.chars().all(|c| c == '.');
    if step || !text.chars().all(plain) { Err(StubFault::Part(text.to_string())) } else { Ok(text.to_string()) }
}

fn parameter(text: &str) -> Result<(String, String), StubFault> {
    let fault = || StubFault::Parameter(text.to_string());
    let (name, value) = text.split_once('=').ok_or_else(fault)?;
    let known = match name {
        "recipe" | "recipe_type" => !value.is_empty(),
        "checkpoint" => CHECKPOINTS.contains(&value),
        "deployment" => DEPLOYMENTS.contains(&value),
        _ => false,
    };
    if known { Ok((name.to_string(), value.to_string())) } else { Err(fault()) }
}

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.sub.as_ref().map_or(Ok(()), |sub| write!(f, "-{sub}"))
    }
}

impl fmt::Display for StubPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StubPath::First { domain, sub_domain, architecture, framework, repository, dataset, tag } => {
                write!(f, "{domain}/{sub_domain}/{architecture}/{framework}/{repository}/{dataset}/{tag}")
            }
            StubPath::Second { architecture, source_dataset, training_dataset, tag } => {
                write!(f, "{architecture}-{source_dataset}")?;
                training_dataset.as_ref().map_or(Ok(()), |dataset| write!(f, "-{dataset}"))?;
                write!(f, "-{tag}")
            }
        }
    }
}

impl fmt::Display for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.path)?;
        self.parameters
            .iter()
            .enumerate()
            .try_for_each(|(index, (name, value))| write!(f, "{}{name}={value}", if index == 0 { '?' } else { '&' }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Joined, Stub, StubFault, StubPath};

    /// Every tag of a YOLOv5 that the zoo had, by architecture.
    const TAGS: &[(&str, &[&str])] = &[
        (
            "yolov5-s",
            &[
                "base-none",
                "pruned-aggressive_96",
                "pruned_quant-aggressive_94",
                "pruned65_quant-none",
                "pruned75_quant-none",
                "pruned85_quant-none",
                "pruned35_quant-none-vnni",
                "pruned35-none-vnni",
            ],
        ),
        ("yolov5-n", &["pruned40_quant-none"]),
        ("yolov5-m", &["base-none", "pruned70_quant-none"]),
        ("yolov5-l", &["base-none", "pruned-aggressive_98", "pruned_quant-aggressive_95", "pruned90_quant-none"]),
        ("yolov5-x", &["pruned80_quant-none"]),
        ("yolov5-x6", &["pruned90_quant-none"]),
        ("yolov5-n6", &["base-none"]),
    ];

    fn parse(text: &str) -> Stub {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn stubs_of_the_first_grammar_are_printed_as_they_were() {
        for (architecture, tags) in TAGS {
            for tag in *tags {
                let text = format!("cv/detection/{architecture}/pytorch/ultralytics/coco/{tag}");
                let stub = parse(&text);
                assert_eq!(stub.to_string(), format!("zoo:{text}"));
                assert_eq!(parse(&stub.to_string()), stub);
                let StubPath::First { architecture: Joined { name, sub }, tag: parsed, .. } = &stub.path else {
                    panic!("{stub:?}")
                };
                let expected = architecture.split_once('-').expect("two parts");
                assert_eq!((name.as_str(), sub.as_deref(), parsed.as_str()), (expected.0, Some(expected.1), *tag));
            }
        }
        let trained = parse("zoo:cv/detection/yolov5-s/pytorch/ultralytics/coco-voc/base-none");
        assert!(
            matches!(trained.path, StubPath::First { dataset: Joined { sub: Some(ref voc), .. }, .. } if voc == "voc")
        );
    }

    #[test]
    fn stubs_of_the_second_grammar_are_printed_as_they_were() {
        for text in [
            "yolov5-s-coco-pruned75_quantized",
            "yolov5-x-coco-pruned70.4block_quantized",
            "yolov8-coco-base",
            "yolov5-s-coco-voc-pruned75",
            "yolov5-s-coco-pruned75_quantized?recipe=original&deployment=default",
            "cv/detection/yolov5-s/pytorch/ultralytics/coco/base-none?recipe_type=transfer_learn",
            "cv/detection/yolov5-s/pytorch/ultralytics/coco/base-none?checkpoint=postqat",
        ] {
            for form in [text.to_string(), format!("zoo:{text}")] {
                let stub = parse(&form);
                assert_eq!(stub.to_string(), format!("zoo:{text}"));
                assert_eq!(parse(&stub.to_string()), stub);
            }
        }
        let stub = parse("yolov5-s-coco-pruned75_quantized?recipe=original");
        assert_eq!((stub.parameter("recipe"), stub.parameter("checkpoint")), (Some("original"), None));
        assert!(
            matches!(stub.path, StubPath::Second { architecture: Joined { sub: Some(ref s), .. }, .. } if s == "s")
        );
    }

    #[test]
    fn what_is_no_stub_says_why() {
        let fault = |text: &str| text.parse::<Stub>().expect_err(text);
        for form in ["", "model", "model.onnx", "my-model", "a/b/c", "a/b/c/d/e/f", "a/b/c/d/e/f/g/h", "a-b-c-d-e-f"] {
            assert_eq!(fault(form), StubFault::Form, "{form}");
        }
        assert_eq!(fault("cv/det ect/a/b/c/d/e"), StubFault::Part("det ect".into()));
        assert_eq!(fault("cv/../a/b/c/d/e"), StubFault::Part("..".into()));
        assert_eq!(fault("cv//a/b/c/d/e"), StubFault::Part(String::new()));
        assert_eq!(fault("cv/detection/a/b/c/d/base-"), StubFault::Part(String::new()));
        assert_eq!(fault("..-a-b-c"), StubFault::Part("..".into()));
        for parameter in ["checkpoint=last", "deployment=", "color=red", "recipe", "recipe="] {
            let text = format!("yolov5-s-coco-base?{parameter}");
            assert_eq!(fault(&text), StubFault::Parameter(parameter.to_string()));
        }
    }

    #[test]
    fn folders_are_those_of_both_generations() {
        let first = parse("cv/detection/yolov5-s/pytorch/ultralytics/coco/pruned65_quant-none").folders();
        assert_eq!(first[0], "cv/detection/yolov5-s/pytorch/ultralytics/coco/pruned65_quant-none");
        assert!(first.contains(&"neuralmagic/yolov5-s-coco-pruned65_quantized".to_string()), "{first:?}");
        let second = parse("yolov5-s-coco-base").folders();
        assert_eq!(second, ["yolov5-s-coco-base", "neuralmagic/yolov5-s-coco-base"]);
    }
}
