//! TOML configuration files.

use std::path::Path;

use serde_json::{Map, Value};
use toml::Table;

use super::{Error, Layer, MAX_DEPTH, Origin, Warning, dotted, load, schema};

/// The keys and values of a file.
pub(super) fn parse(file: &Path, text: &[u8]) -> Result<Map<String, Value>, Error> {
    let wrong = |offset: usize, message: String| {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit(|&byte| byte == b'\n').next();
        Error::Toml {
            file: file.to_owned(),
            line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
            column: String::from_utf8_lossy(line.unwrap_or_default())
                .chars()
                .count()
                + 1,
            message,
        }
    };
    let content = std::str::from_utf8(text)
        .map_err(|error| wrong(error.valid_up_to(), "not UTF-8".to_owned()))?;
    let table: Table = content.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        wrong(offset, error.message().replace('\n', ", "))
    })?;
    let mut values = dict(file, table, &mut Vec::new())?;
    hoist(&mut values);
    Ok(values)
}

/// One file that says what several said, the last of which wins.
pub(super) fn write(layers: &[Layer], warnings: &[Warning]) -> String {
    let mut text = String::new();
    let mut comment = |line: &str| {
        // Whatever a key holds, it does not end the comment.
        text.extend(["# ", &line.replace(char::is_control, " "), "\n"]);
    };
    let mut said = Map::new();
    for layer in layers {
        if let Origin::File(file) = &layer.origin {
            comment(&format!("From {}", file.display()));
            load::merge(&mut said, &layer.values);
        }
    }
    let left_out = warnings.iter();
    for warning in left_out.filter(|warning| matches!(warning, Warning::LeftOut { .. })) {
        comment(&warning.to_string());
    }
    let mut lost = Vec::new();
    let table = table(said, "", &mut lost);
    for place in lost {
        comment(&format!("{place}: TOML has no such value: it was left out"));
    }
    // Tables of texts, numbers and flags: there is nothing in them that TOML does not have.
    text.push_str(&toml::to_string_pretty(&table).unwrap_or_default());
    text
}

fn table(dict: Map<String, Value>, place: &str, lost: &mut Vec<String>) -> Table {
    let mut table = Table::new();
    for (key, inner) in dict {
        let dot = if place.is_empty() { "" } else { "." };
        let place = format!("{place}{dot}{key}");
        if let Some(inner) = toml_value(inner, &place, lost) {
            table.insert(key, inner);
        }
    }
    table
}

/// None and whole numbers of more than 63 bits are lost.
fn toml_value(value: Value, place: &str, lost: &mut Vec<String>) -> Option<toml::Value> {
    let kept = match value {
        Value::Null => None,
        Value::Bool(value) => Some(value.into()),
        Value::String(text) => Some(text.into()),
        Value::Number(number) if number.is_f64() => number.as_f64().map(toml::Value::from),
        Value::Number(number) => number.as_i64().map(toml::Value::from),
        Value::Object(dict) => Some(table(dict, place, lost).into()),
        Value::Array(list) => {
            let list = list.into_iter().enumerate();
            let list = list
                .filter_map(|(index, inner)| toml_value(inner, &format!("{place}[{index}]"), lost));
            Some(list.collect::<Vec<_>>().into())
        }
    };
    if kept.is_none() {
        lost.push(place.to_owned());
    }
    kept
}

fn dict(file: &Path, table: Table, place: &mut Vec<String>) -> Result<Map<String, Value>, Error> {
    let mut dict = Map::new();
    for (key, inner) in table {
        place.push(key.clone());
        dict.insert(key, value(file, inner, place)?);
        place.pop();
    }
    Ok(dict)
}

fn value(file: &Path, value: toml::Value, place: &mut Vec<String>) -> Result<Value, Error> {
    let not_json = |what| Error::NotJson {
        key: dotted(place.iter().map(String::as_str)),
        file: file.to_owned(),
        what,
    };
    if place.len() > MAX_DEPTH {
        return Err(Error::TooDeep {
            key: dotted(place.iter().map(String::as_str)),
            file: file.to_owned(),
        });
    }
    match value {
        toml::Value::String(text) => Ok(text.into()),
        toml::Value::Integer(number) => Ok(number.into()),
        toml::Value::Boolean(value) => Ok(value.into()),
        toml::Value::Float(number) if number.is_finite() => Ok(number.into()),
        toml::Value::Float(_) => Err(not_json("a number that is not finite")),
        toml::Value::Datetime(_) => Err(not_json("a date or time")),
        toml::Value::Table(table) => Ok(dict(file, table, place)?.into()),
        toml::Value::Array(list) => {
            let mut values = Vec::new();
            for (index, inner) in list.into_iter().enumerate() {
                place.push(format!("[{index}]"));
                values.push(self::value(file, inner, place)?);
                place.pop();
            }
            Ok(values.into())
        }
    }
}

/// `fedmsg.consumers.gateway.port = 9940` without quotes is three dictionaries to TOML; what is
/// meant is the one key of that name.
fn hoist(values: &mut Map<String, Value>) {
    let dotted = schema::KEYS.iter().filter(|key| key.name.contains('.'));
    for key in dotted {
        if let Some(value) = take(values, key.name) {
            values.insert(key.name.to_owned(), value);
        }
    }
}

/// Takes out the value at the end of a way of keys, and the dictionaries that are empty then.
fn take(dict: &mut Map<String, Value>, way: &str) -> Option<Value> {
    let Some((first, rest)) = way.split_once('.') else {
        return dict.remove(way);
    };
    let inner = dict.get_mut(first)?.as_object_mut()?;
    let value = take(inner, rest);
    if inner.is_empty() {
        dict.remove(first);
    }
    value
}
