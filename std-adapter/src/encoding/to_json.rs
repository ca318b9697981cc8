//! Types with a form of their own for the bus: the peer's `__json__`.

use serde::{Serialize, Serializer};

/// A type that goes over the bus in another form than its `Serialize` gives, or that has none.
///
/// ```
/// use fedmsg::encoding::{Json, ToJson, dumps, to_json};
/// use serde::Serialize;
///
/// struct User {
///     name: String,
///     password: String,
/// }
///
/// impl ToJson for User {
///     fn to_json(&self) -> impl Serialize {
///         serde_json::json!({"name": self.name})
///     }
/// }
///
/// #[derive(Serialize)]
/// struct Vote<'a> {
///     #[serde(serialize_with = "to_json")]
///     users: Vec<User>,
///     first: Json<'a, User>,
/// }
///
/// let user = || User { name: "ada".into(), password: "secret".into() };
/// assert_eq!(dumps(&Json(&user()))?, r#"{"name":"ada"}"#);
/// let vote = Vote { users: vec![user()], first: Json(&user()) };
/// assert_eq!(dumps(&vote)?, r#"{"first":{"name":"ada"},"users":[{"name":"ada"}]}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
pub trait ToJson {
    /// What is written for it: any `Serialize` value, such as one of `serde_json::json!`.
    fn to_json(&self) -> impl Serialize;
}

/// A value that is written as its [`ToJson`] says: `context.publish(modname, topic, &Json(&user))`.
#[derive(Debug)]
pub struct Json<'a, T: ?Sized>(pub &'a T);

impl<T: ToJson + ?Sized> Serialize for Json<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(self.0, serializer)
    }
}

/// Writes a value as its [`ToJson`] says; for
/// `#[serde(serialize_with = "fedmsg::encoding::to_json")]`.
///
/// # Errors
/// The serializer's.
pub fn to_json<T: ToJson + ?Sized, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.to_json().serialize(serializer)
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn to_json(&self) -> impl Serialize {
        Json(*self)
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self) -> impl Serialize {
        self.as_ref().map(Json)
    }
}

impl<T: ToJson> ToJson for [T] {
    fn to_json(&self) -> impl Serialize {
        self.iter().map(Json).collect::<Vec<_>>()
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self) -> impl Serialize {
        Json(self.as_slice())
    }
}
