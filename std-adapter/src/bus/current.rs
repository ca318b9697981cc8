//! The process's one context.
//!
//! The peer keeps one for each thread, because its sockets can be used by one thread only, and so
//! needs an endpoint for each. Ours is one for all threads.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Context, Error, Message, Settings};

/// Makes the process's context, which [`publish!`](crate::publish!), [`tail`] and [`context`] use
/// from then on. Without it they make one of [`Settings::load`], as the peer does: on a machine of a
/// site they do what its configuration says.
///
/// # Errors
/// [`Error::AlreadyInitialized`] unless it was [destroyed](destroy); as [`Context::new`].
pub fn init(settings: Settings) -> Result<Arc<Context>, Error> {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    match &*current {
        Current::Live(_) => Err(Error::AlreadyInitialized),
        Current::None | Current::Destroyed => {
            let context = Arc::new(Context::new(settings)?);
            *current = Current::Live(Arc::clone(&context));
            Ok(context)
        }
    }
}

/// The process's context; made of the [site's configuration](Settings::load) if there was none.
///
/// # Errors
/// [`Error::Closed`] after [`destroy`]; making it, those of [`Settings::load`] and [`Context::new`].
pub fn context() -> Result<Arc<Context>, Error> {
    match &*CURRENT.read().unwrap_or_else(PoisonError::into_inner) {
        Current::Live(context) => return Ok(Arc::clone(context)),
        Current::Destroyed => return Err(Error::Closed),
        Current::None => {}
    }
    match init(Settings::load()?) {
        // Another thread was faster.
        Err(Error::AlreadyInitialized) => context(),
        made => made,
    }
}

/// The messages that others publish, whatever their topic: those of [`Context::tail`]. If there
/// can be none, the first item says why.
pub fn tail() -> impl Iterator<Item = Result<Message<'static>, Error>> {
    let (tail, error) = match context().and_then(|context| context.tail("")) {
        Ok(tail) => (Some(tail), None),
        Err(error) => (None, Some(Err(error))),
    };
    error.into_iter().chain(tail.into_iter().flatten())
}

/// Closes the process's context, if there is one: a program that published calls it before it ends,
/// or its last messages may not go out. From then on publishing is an error, until the next
/// [`init`]. Tails go on.
///
/// # Errors
/// As [`Context::close`].
pub fn destroy() -> Result<(), Error> {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    let Current::Live(context) = std::mem::replace(&mut *current, Current::Destroyed) else {
        return Ok(());
    };
    drop(current);
    context.close()
}

/// Publishes a value: `publish!(topic, &value)`, in the process's context, with the name of the
/// crate that it stands in as modname; `publish!(topic, &value, modname = name)` with another;
/// `publish!(context, …)` in another context.
///
/// Gives what [`Context::publish`](crate::bus::Context::publish) gives.
///
/// ```
/// use fedmsg::{Context, Settings};
/// use std::time::Duration;
///
/// # #[derive(serde::Serialize)]
/// # struct Tag { name: &'static str }
/// # let tag = Tag { name: "network" };
/// let settings = Settings {
///     name: Some("tagger.app01".into()),
///     post_init_sleep: Duration::ZERO,
///     ..Settings::default()
/// }
/// .with_endpoints("tagger.app01", ["tcp://127.0.0.1:0"])?;
/// fedmsg::init(settings.clone())?;
/// fedmsg::publish!("tag.update", &tag)?;
/// fedmsg::publish!("tag.update", &tag, modname = "fedoratagger")?;
/// fedmsg::destroy()?;
///
/// let other = Context::new(settings)?;
/// fedmsg::publish!(other, "tag.update", &tag)?;
/// # Ok::<(), fedmsg::bus::Error>(())
/// ```
#[macro_export]
macro_rules! publish {
    ($topic:expr, $msg:expr, modname = $modname:expr $(,)?) => {
        $crate::bus::context().and_then(|context| context.publish($modname, $topic, $msg))
    };
    ($context:expr, $topic:expr, $msg:expr, modname = $modname:expr $(,)?) => {
        $context.publish($modname, $topic, $msg)
    };
    ($topic:expr, $msg:expr $(,)?) => {
        $crate::publish!(
            $topic,
            $msg,
            modname = $crate::bus::crate_name(::core::module_path!())
        )
    };
    ($context:expr, $topic:expr, $msg:expr $(,)?) => {
        $crate::publish!(
            $context,
            $topic,
            $msg,
            modname = $crate::bus::crate_name(::core::module_path!())
        )
    };
}

/// The crate that a module belongs to.
#[doc(hidden)]
pub fn crate_name(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

enum Current {
    None,
    Live(Arc<Context>),
    Destroyed,
}

static CURRENT: RwLock<Current> = RwLock::new(Current::None);
