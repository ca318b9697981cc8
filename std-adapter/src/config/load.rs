//! Where configuration files lie, and how what they say becomes one configuration.

use std::{
    env, fs,
    io::{self, Read as _},
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{Config, Error, Layer, MAX_FILE, Origin, Warning, dotted, python, schema, toml};

/// Reads a configuration. Each [`load`](Self::load) reads anew.
///
/// ```
/// use fedmsg::config::Loader;
///
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("fedmsg.toml");
/// # std::fs::write(&file, "topic_prefix = 'org.example'\nzmq_linger = '500'\n")?;
/// let mut loader = Loader {
///     files: vec![file], // instead of looking for files
///     ..Loader::default()
/// };
/// loader.overrides.insert("environment".into(), "stg".into());
/// let config = loader.load()?;
/// assert_eq!(config.get("topic_prefix").unwrap(), "org.example");
/// assert_eq!(config.get("zmq_linger").unwrap(), 500);
/// assert_eq!(config.get("environment").unwrap(), "stg");
/// assert_eq!(config.get("timeout").unwrap(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Loader {
    /// The files to read, instead of those of the usual places. One whose name ends in `.toml` is
    /// TOML, every other one is Python.
    pub files: Vec<PathBuf>,
    /// Whether keys that nobody sets get fedmsg's defaults.
    pub defaults: bool,
    /// What wins over every file.
    pub overrides: Map<String, Value>,
    /// The interpreter of Python files.
    pub python: PathBuf,
    /// How long all Python files may take together.
    pub python_limit: Duration,
    /// The name server for `srv_endpoints`; `None`: those of this machine.
    pub name_server: Option<SocketAddr>,
    /// How long the name server may take for each of `srv_endpoints`, which are asked for at once.
    /// Zero: it is not asked.
    pub srv_limit: Duration,
}

impl Default for Loader {
    /// The usual places, defaults, no overrides, `python3` for at most 10 seconds, this machine's
    /// name servers for at most 5.
    fn default() -> Self {
        Self {
            files: Vec::new(),
            defaults: true,
            overrides: Map::new(),
            python: "python3".into(),
            python_limit: Duration::from_secs(10),
            name_server: None,
            srv_limit: Duration::from_secs(5),
        }
    }
}

impl Loader {
    /// Reads the configuration.
    ///
    /// Python files are run: by then it is too late to heed a warning about who may write them.
    ///
    /// # Errors
    /// The first thing that is wrong with a file or a value.
    pub fn load(&self) -> Result<Config, Error> {
        first_error(self.check())
    }

    /// Reads the configuration as far as it goes, and everything that is wrong with it.
    #[must_use]
    pub fn check(&self) -> (Config, Vec<Error>) {
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        let files = self.files().unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        });
        let mut layers = self.read(files, &mut errors, &mut warnings);
        if !self.overrides.is_empty() {
            layers.push(Layer {
                origin: Origin::CommandLine,
                values: self.overrides.clone(),
            });
        }
        let (mut config, wrong) = assemble(layers, self.defaults);
        errors.extend(wrong);
        config.warnings.splice(..0, warnings);
        if errors.is_empty() && !self.srv_limit.is_zero() {
            self.resolve(&mut config);
        }
        (config, errors)
    }

    /// The files to read, in their order.
    fn files(&self) -> Result<Vec<PathBuf>, Error> {
        if !self.files.is_empty() {
            return Ok(self.files.clone());
        }
        let home = env::home_dir();
        let current = env::current_dir().ok();
        let places = [
            home.as_deref().map(|home| (home, ".")),
            current.as_deref().map(|dir| (dir, "")),
        ];
        let mut folders = Vec::new();
        let mut files = Vec::new();
        match env::var_os("FEDMSG_CONFIG").filter(|named| !named.is_empty()) {
            None => {
                folders.push(PathBuf::from("/etc/fedmsg.d"));
                files.push(PathBuf::from("/etc/fedmsg-config.py"));
            }
            Some(named) => {
                let path = PathBuf::from(named);
                match fs::metadata(&path) {
                    Ok(found) if found.is_dir() => folders.push(path),
                    Ok(_) => files.push(path),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(Error::Missing { path });
                    }
                    Err(source) => return Err(Error::Unreadable { path, source }),
                }
            }
        }
        for (place, dot) in places.into_iter().flatten() {
            folders.push(place.join(format!("{dot}fedmsg.d")));
            files.push(place.join(format!("{dot}fedmsg-config.py")));
        }
        if let Some(environment) = env::var_os("VIRTUAL_ENV") {
            folders.push(PathBuf::from(environment).join("etc/fedmsg.d"));
        }
        let mut found = Vec::new();
        for folder in folders {
            found.extend(in_folder(folder)?);
        }
        // The peer reads these after every folder.
        found.extend(files.into_iter().filter(|file| file.is_file()));
        Ok(found)
    }

    fn read(
        &self,
        files: Vec<PathBuf>,
        errors: &mut Vec<Error>,
        warnings: &mut Vec<Warning>,
    ) -> Vec<Layer> {
        // One interpreter runs all Python files.
        let mut texts = Vec::new();
        let mut scripts = Vec::new();
        for file in files {
            match contents(&file, warnings) {
                Ok(text) if is_toml(&file) => texts.push((file, Some(text))),
                Ok(_) => {
                    scripts.push(file.clone());
                    texts.push((file, None));
                }
                Err(error) => errors.push(error),
            }
        }
        let mut answers = python::run(&self.python, &scripts, self.python_limit).into_iter();
        let mut layers = Vec::new();
        for (file, text) in texts {
            let read = match text {
                Some(text) => toml::parse(&file, &text),
                None => match answers.next() {
                    Some(answer) => answer.map(|(values, left_out)| {
                        warnings.extend(left_out);
                        values
                    }),
                    // An earlier one was the interpreter's last.
                    None => continue,
                },
            };
            match read {
                Ok(values) => layers.push(Layer {
                    origin: Origin::File(file),
                    values,
                }),
                Err(error) => errors.push(error),
            }
        }
        layers
    }

    #[cfg(feature = "srv")]
    fn resolve(&self, config: &mut Config) {
        let domains = srv_endpoints(config);
        if domains.is_empty() {
            return;
        }
        let mut found = Map::new();
        for (domain, endpoints) in super::srv::resolve(domains, self.name_server, self.srv_limit) {
            match endpoints {
                Ok(endpoints) => drop(found.insert(domain, endpoints.into())),
                Err(reason) => config.warnings.push(Warning::Unresolved { domain, reason }),
            }
        }
        let mut values = Map::new();
        values.insert("endpoints".into(), found.into());
        merge(&mut config.values, &values);
        config.layers.push(Layer {
            origin: Origin::Srv,
            values,
        });
    }

    #[cfg(not(feature = "srv"))]
    fn resolve(&self, config: &mut Config) {
        for domain in srv_endpoints(config) {
            let reason = "this program was built without feature srv".into();
            config.warnings.push(Warning::Unresolved { domain, reason });
        }
    }
}

/// The configuration, if nothing is wrong with it.
pub(super) fn first_error((config, errors): (Config, Vec<Error>)) -> Result<Config, Error> {
    errors.into_iter().next().map_or(Ok(config), Err)
}

/// Merges, checks and completes what the sources said, the last of which wins.
pub(super) fn assemble(mut layers: Vec<Layer>, defaults: bool) -> (Config, Vec<Error>) {
    let mut set = Map::new();
    for layer in &layers {
        merge(&mut set, &layer.values);
    }
    let mut errors = Vec::new();
    let mut unset = Vec::new();
    for key in schema::KEYS {
        let Some(value) = set.get_mut(key.name) else {
            continue;
        };
        if value.is_null() && key.may_be_none() {
            // None is as not set at all.
            unset.push(key.name);
        } else if let Err(mismatch) = schema::normalise(key.kind, value) {
            errors.push((key.name, mismatch));
        }
    }
    let mut values = Map::new();
    if defaults {
        for name in unset {
            set.remove(name);
            for layer in &mut layers {
                layer.values.remove(name);
            }
        }
        let known = schema::KEYS.iter();
        values.extend(known.filter_map(|key| Some((key.name.to_owned(), key.default()?))));
    }
    // Whole values: a site's endpoints do not come on top of the default ones.
    values.extend(set);
    if !values.contains_key("topic_prefix_re")
        && let Some(Value::String(prefix)) = values.get("topic_prefix")
    {
        let pattern = format!(r"{}\.[^\W\d_]+", prefix.replace('.', r"\."));
        values.insert("topic_prefix_re".into(), pattern.into());
    }
    let warnings = misspelt(&layers);
    let config = Config {
        values,
        layers,
        warnings,
    };
    let errors = errors.into_iter().map(|(key, mismatch)| {
        let mut place = vec![key];
        // A list is set as a whole.
        let steps = mismatch.path.iter().map(String::as_str);
        place.extend(steps.take_while(|step| !step.starts_with('[')));
        Error::Type {
            origin: config.origin_of(&place).clone(),
            key: dotted(
                [key]
                    .into_iter()
                    .chain(mismatch.path.iter().map(String::as_str)),
            ),
            found: mismatch.found,
            expected: mismatch.expected,
        }
    });
    let errors = errors.collect();
    (config, errors)
}

/// Sets what `over` says; dictionaries on both sides become one.
pub(super) fn merge(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}

fn misspelt(layers: &[Layer]) -> Vec<Warning> {
    let keys = layers
        .iter()
        .flat_map(|layer| layer.values.keys().map(|key| (&layer.origin, key)));
    let unknown = keys.filter(|(_, key)| schema::known(key).is_none());
    let near = unknown.filter_map(|(origin, key)| {
        Some(Warning::Misspelt {
            key: key.clone(),
            origin: origin.clone(),
            known: schema::meant(key)?,
        })
    });
    near.collect()
}

fn srv_endpoints(config: &Config) -> Vec<String> {
    let domains = config.get("srv_endpoints").and_then(Value::as_array);
    let domains = domains.into_iter().flatten().filter_map(Value::as_str);
    domains.map(str::to_owned).collect()
}

/// The configuration files in a folder, in the order of their names. A folder that is not there has
/// none.
fn in_folder(folder: PathBuf) -> Result<Vec<PathBuf>, Error> {
    let listed = fs::read_dir(&folder).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<io::Result<Vec<_>>>()
    });
    match listed {
        Ok(mut paths) => {
            // What an editor leaves for its own use is often a link to nothing.
            paths.retain(|path| (is_toml(path) || has_ending(path, "py")) && path.is_file());
            paths.sort();
            Ok(paths)
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(source) => Err(Error::Unreadable {
            path: folder,
            source,
        }),
    }
}

/// What stands in a file; and whether somebody else may have written it.
fn contents(path: &Path, warnings: &mut Vec<Warning>) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(io::Error::other("not a file")));
    }
    let mut text = Vec::new();
    file.by_ref()
        .take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::TooLarge {
            file: path.to_owned(),
            limit: MAX_FILE,
        });
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let writable = [(path, Some(found.mode())), (folder, mode(folder))];
    for (path, mode) in writable {
        // Nobody but its owner can replace a file in a folder with the sticky bit.
        if mode.is_some_and(|mode| mode & EVERYBODY_WRITES != 0 && mode & STICKY == 0) {
            let warning = Warning::Writable {
                path: path.to_owned(),
            };
            // A folder is looked at with each of its files.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        warnings.push(Warning::Stranger {
            path: path.to_owned(),
            owner: found.uid(),
        });
    }
    Ok(text)
}

fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.mode())
}

fn is_toml(path: &Path) -> bool {
    has_ending(path, "toml")
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

const EVERYBODY_WRITES: u32 = 0o002;
const STICKY: u32 = 0o1000;
