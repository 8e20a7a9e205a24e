//! SparseML recipes: which layer shall have how many zeros.
//!
//! A recipe is YAML, or Markdown with YAML between `---` lines. Of its modifiers, those that prune count
//! (`!GMPruningModifier`, `!MagnitudePruningModifier`, `!MFACPruningModifier`, `!OBSPruningModifier`, ...): their `params`,
//! `final_sparsity` and `mask_type`. Everything about training is passed over.

use regex_lite::Regex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use yaml_rust2::parser::{Event, MarkedEventReceiver, Parser, Tag};
use yaml_rust2::scanner::Marker;

/// Stands for every weight that can be pruned.
const ALL: [&str; 2] = ["__ALL_PRUNABLE__", "__ALL__"];

/// A recipe that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("cannot read recipe `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no YAML.
    #[error("recipe `{}` is not valid YAML", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: yaml_rust2::ScanError,
    },
    /// The file says something that cannot be followed.
    #[error("recipe `{}`: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        reason: String,
    },
}

/// What a recipe wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipe {
    /// Patterns of names of weights, and the share of zeros of what they match.
    rules: Vec<(Pattern, f64)>,
    /// Consecutive input channels that are zero together, where the recipe says so.
    pub block: Option<usize>,
    /// Whether it also quantises.
    pub quantizes: bool,
}

/// A pattern of names.
#[derive(Clone, Debug)]
enum Pattern {
    All,
    Name(String),
    Regex(Regex),
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Pattern::All, Pattern::All) => true,
            (Pattern::Name(a), Pattern::Name(b)) => a == b,
            (Pattern::Regex(a), Pattern::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// A value of YAML, with the tag of a mapping that has one.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Scalar(String),
    List(Vec<Value>),
    Map(Option<String>, Vec<(Value, Value)>),
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// When it cannot be read, is no YAML, or prunes nothing.
    pub fn open(path: &Path) -> Result<Self, RecipeError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| RecipeError::Read { path: path.to_path_buf(), source })?;
        let value =
            parse(front_matter(&text)).map_err(|source| RecipeError::Yaml { path: path.to_path_buf(), source })?;
        Self::from_value(&value).map_err(|reason| RecipeError::Content { path: path.to_path_buf(), reason })
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Map(_, entries) = value else { return Err("it is not a mapping of names to values".to_owned()) };
        let variables: HashMap<&str, &str> =
            entries.iter().filter_map(|(key, value)| Some((key.scalar()?, value.scalar()?))).collect();
        let mut recipe = Recipe::default();
        recipe.collect(value, &variables)?;
        if recipe.rules.is_empty() {
            let reason = "it has no pruning modifier with `params` and `final_sparsity`, such as !GMPruningModifier";
            return Err(reason.to_owned());
        }
        Ok(recipe)
    }

    /// Follows every modifier below a value.
    fn collect(&mut self, value: &Value, variables: &HashMap<&str, &str>) -> Result<(), String> {
        match value {
            Value::Scalar(_) => {}
            Value::List(values) => values.iter().try_for_each(|value| self.collect(value, variables))?,
            Value::Map(tag, entries) => {
                let tag = tag.as_deref().unwrap_or_default();
                self.quantizes |= tag.contains("Quantization");
                if tag.contains("Pruning") && !tag.contains("Constant") {
                    self.add(tag, value, variables)?;
                } else {
                    entries.iter().try_for_each(|(_, value)| self.collect(value, variables))?;
                }
            }
        }
        Ok(())
    }

    /// Follows a modifier that prunes.
    fn add(&mut self, tag: &str, modifier: &Value, variables: &HashMap<&str, &str>) -> Result<(), String> {
        match modifier.get("mask_type").map(|mask| (mask, mask.evaluated(variables))) {
            None | Some((_, "unstructured")) => {}
            Some((_, "block4" | "[1, 4]" | "[1,4]")) => self.block = Some(4),
            Some((Value::List(list), _)) => match &list[..] {
                [rows, channels] if rows.scalar() == Some("1") => {
                    let channels = channels.scalar().and_then(|c| c.parse().ok());
                    self.block = Some(channels.ok_or(format!("`mask_type` of !{tag} is not [1, number]"))?);
                }
                _ => return Err(format!("`mask_type` of !{tag} is not [1, 4], unstructured or block4")),
            },
            Some((_, other)) => {
                return Err(format!("`mask_type` of !{tag} is `{other}`, not [1, 4], unstructured or block4"));
            }
        }
        let final_sparsity = modifier.get("final_sparsity");
        let text = final_sparsity.map(|s| s.evaluated(variables)).ok_or(format!("!{tag} has no `final_sparsity`"))?;
        let sparsity: f64 = text.parse().ok().filter(|s| (0.0..1.0).contains(s)).ok_or_else(|| {
            format!("`final_sparsity` of !{tag} is `{text}`; a number from 0 up to 1 or the name of one is understood")
        })?;
        let params = modifier.get("params").ok_or(format!("!{tag} has no `params`"))?;
        let names = match params {
            Value::List(names) => names.iter().filter_map(Value::scalar).collect(),
            other => vec![other.evaluated(variables)],
        };
        for name in names {
            let pattern = match name.strip_prefix("re:") {
                _ if ALL.contains(&name) => Pattern::All,
                // SparseML matches from the start of a name.
                Some(regex) => Pattern::Regex(
                    Regex::new(&format!("^(?:{regex})")).map_err(|e| format!("`{name}` of !{tag}: {e}"))?,
                ),
                None => Pattern::Name(name.to_owned()),
            };
            self.rules.push((pattern, sparsity));
        }
        Ok(())
    }

    /// The share of zeros that a weight shall have; later modifiers win. A name may lack the prefix of a wrapper, as in
    /// `model.0.conv.weight` for `module.model.0.conv.weight`.
    pub fn sparsity(&self, name: &str) -> Option<f64> {
        let matches = |pattern: &Pattern| match pattern {
            Pattern::All => true,
            Pattern::Name(wanted) => wanted == name || ends_with(wanted, name) || ends_with(name, wanted),
            Pattern::Regex(regex) => regex.is_match(name),
        };
        self.rules.iter().rev().find(|(pattern, _)| matches(pattern)).map(|(_, sparsity)| *sparsity)
    }

    /// The names it gives that none of `weights` has.
    pub fn unknown<'r>(&'r self, weights: &[&str]) -> Vec<&'r str> {
        let names = self.rules.iter().filter_map(|(pattern, _)| match pattern {
            Pattern::Name(name) => Some(name.as_str()),
            _ => None,
        });
        names.filter(|name| !weights.iter().any(|w| w == name || ends_with(w, name) || ends_with(name, w))).collect()
    }
}

/// Whether a dotted name ends with another.
fn ends_with(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'))
}

impl Value {
    fn scalar(&self) -> Option<&str> {
        if let Value::Scalar(text) = self { Some(text) } else { None }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let Value::Map(_, entries) = self else { return None };
        entries.iter().find(|(k, _)| k.scalar() == Some(key)).map(|(_, value)| value)
    }

    /// The text, or the value of the variable that `eval(name)` names.
    fn evaluated<'v>(&'v self, variables: &HashMap<&str, &'v str>) -> &'v str {
        let text = self.scalar().unwrap_or_default();
        let name = text.strip_prefix("eval(").and_then(|rest| rest.strip_suffix(')')).map(str::trim);
        name.and_then(|name| variables.get(name)).copied().unwrap_or(text)
    }
}

/// The YAML of a Markdown file, or the whole text.
fn front_matter(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let Some(rest) = text.strip_prefix("---") else { return text };
    rest.find("\n---").map_or(rest, |end| &rest[..end])
}

/// Builds values from a parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<(Option<String>, bool, Vec<Value>)>,
    root: Option<Value>,
}

impl Builder {
    fn close(&mut self, value: Value) {
        match self.open.last_mut() {
            Some((.., values)) => values.push(value),
            None => self.root = Some(value),
        }
    }
}

impl MarkedEventReceiver for Builder {
    fn on_event(&mut self, event: Event, _: Marker) {
        let name = |tag: Option<Tag>| tag.map(|tag| tag.suffix);
        match event {
            Event::Scalar(text, ..) => self.close(Value::Scalar(text)),
            Event::SequenceStart(_, tag) => self.open.push((name(tag), false, Vec::new())),
            Event::MappingStart(_, tag) => self.open.push((name(tag), true, Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((tag, is_map, values)) = self.open.pop() else { return };
                let value = if is_map {
                    let mut values = values.into_iter();
                    let pairs = std::iter::from_fn(|| Some((values.next()?, values.next()?)));
                    Value::Map(tag, pairs.collect())
                } else {
                    Value::List(values)
                };
                self.close(value);
            }
            _ => {}
        }
    }
}

fn parse(text: &str) -> Result<Value, yaml_rust2::ScanError> {
    let mut builder = Builder::default();
    Parser::new_from_str(text).load(&mut builder, false)?;
    Ok(builder.root.unwrap_or(Value::List(Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::{Recipe, front_matter, parse};

    fn recipe(text: &str) -> Result<Recipe, String> {
        Recipe::from_value(&parse(front_matter(text)).expect("YAML"))
    }

    const TIERS: &str = "---
num_epochs: 240
pruned_high: 0.8453
training_modifiers:
  - !EpochRangeModifier
    start_epoch: 0.0
    end_epoch: eval(num_epochs)
pruning_modifiers:
  - !GMPruningModifier
    params:
      - model.2.cv1.conv.weight
      - model.4.cv1.conv.weight
    init_sparsity: 0.05
    final_sparsity: 0.424
    mask_type: unstructured
  - !GMPruningModifier
    params: [ 're:model\\.(21|23)\\..*weight' ]
    final_sparsity: eval(pruned_high)
---
# YOLOv5

Text about it.
";

    #[test]
    fn tiers_of_a_recipe() {
        let recipe = recipe(TIERS).expect("a recipe");
        assert_eq!(recipe.sparsity("model.2.cv1.conv.weight"), Some(0.424));
        assert_eq!(recipe.sparsity("module.model.4.cv1.conv.weight"), Some(0.424));
        assert_eq!(recipe.sparsity("model.21.conv.weight"), Some(0.8453));
        assert_eq!(recipe.sparsity("model.0.conv.weight"), None);
        assert_eq!(recipe.sparsity("model.12.cv1.conv.weight"), None);
        assert_eq!((recipe.block, recipe.quantizes), (None, false));
        assert_eq!(recipe.unknown(&["model.2.cv1.conv.weight"]), ["model.4.cv1.conv.weight"]);
    }

    #[test]
    fn blocks_quantisation_and_all_weights() {
        let text = "modifiers:
  - !MagnitudePruningModifier {params: __ALL_PRUNABLE__, final_sparsity: 0.5, mask_type: [1, 4]}
  - !MagnitudePruningModifier {params: [model.0.conv.weight], final_sparsity: 0.2}
  - !QuantizationModifier {start_epoch: 5.0}
  - !ConstantPruningModifier {params: __ALL_PRUNABLE__}
";
        let recipe = recipe(text).expect("a recipe");
        assert_eq!(recipe.sparsity("anything"), Some(0.5));
        assert_eq!(recipe.sparsity("model.0.conv.weight"), Some(0.2));
        assert_eq!((recipe.block, recipe.quantizes), (Some(4), true));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (text, reason) in [
            ("a: 1", "no pruning modifier"),
            ("- 1", "not a mapping"),
            ("m: [!GMPruningModifier {params: [a]}]", "no `final_sparsity`"),
            ("m: [!GMPruningModifier {final_sparsity: 0.5}]", "no `params`"),
            ("m: [!GMPruningModifier {params: [a], final_sparsity: eval(x * 2)}]", "`eval(x * 2)`"),
            ("m: [!GMPruningModifier {params: [a], final_sparsity: 65}]", "`65`"),
            ("m: [!GMPruningModifier {params: ['re:('], final_sparsity: 0.5}]", "`re:(`"),
            ("m: [!GMPruningModifier {params: [a], final_sparsity: 0.5, mask_type: filter}]", "`filter`"),
        ] {
            let error = recipe(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
