//! SeaORM's database entities as JSON: **every column, and every relation that was named.**
//!
//! Whatever is in the row goes out: password hashes, tokens, addresses. What a message holds, the
//! whole bus can read, and keeps. If an entity has one column that is not for everybody, write a
//! [`ToJson`](super::ToJson) for it instead, or remove the member.
//!
//! SeaORM does not know at run time which entity is behind a relation, so [`Relations`] is told once
//! which are followed. As in the peer's `fedmsg.encoding.sqla.to_json` an entity type that is on the
//! path already becomes its id, so that no cycle is followed for ever.
//!
//! - A relation to one entity gives an object, or null where there is none; to many, a list in the
//!   order of their primary keys.
//! - The id is the primary key; of one with several columns, a list of them.
//! - Members are called as the columns are, and as the relations' variants are in `snake_case`.
//! - Times with a zone are [seconds since 1970](super::epoch); dates, and times without, are ISO 8601
//!   text. Bytes are base64. Decimals become floating-point numbers, and one that is not finite null.
//! - Every entity that is followed costs one query for each of its relations. Nothing limits how many
//!   there are: do not name a relation to thousands.
//!
//! Source: `fedmsg/encoding/sqla.py` of the peer, Python fedmsg 1.1.7.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    marker::PhantomData,
    pin::Pin,
};

use fedmsg_core::crypto::base64::{self, Wrapping};
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, IdenStatic as _, Iterable as _, Linked, ModelTrait,
    PrimaryKeyToColumn as _, QueryOrder as _, RelationDef, RelationTrait as _, RelationType,
    Select, Value as Column, sea_query::sea_value_to_json_value,
};
use serde_json::{Map, Value};
use time::format_description::well_known::Iso8601;

use super::epoch::ToEpoch;

/// The relations that are followed, over connections of the type `C`. `docs/encoding.md` has an
/// example.
pub struct Relations<C> {
    /// By the entity that they begin at: a member's name, and how its value is found.
    followed: HashMap<TypeId, Vec<(String, Follow<C>)>>,
}

/// Looks up what a relation leads to from a model. The types are those on the path before it.
type Follow<C> =
    Box<dyn for<'a> Fn(&dyn Any, &'a Relations<C>, &'a C, &[TypeId]) -> Pending<'a> + Send + Sync>;
type Pending<'a> = Pin<Box<dyn Future<Output = Result<Value, DbErr>> + Send + 'a>>;

impl<C: ConnectionTrait> Relations<C> {
    /// None yet: columns only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows this relation of the entity `from`, which leads to the entity `to`.
    #[must_use]
    pub fn follow<F: EntityTrait, T: EntityTrait>(
        self,
        from: F,
        relation: F::Relation,
        to: T,
    ) -> Self
    where
        F::Relation: Send + Sync,
    {
        let _ = (from, to); // The types say it all.
        let name = snake_case(&format!("{relation:?}"));
        let to_many = matches!(relation.def().rel_type, RelationType::HasMany);
        self.link(name, to_many, Single::<F, T>(relation, PhantomData))
    }

    /// Follows a path of several relations, such as to the other side of a junction table, to a list
    /// called `name`.
    #[must_use]
    pub fn follow_linked<L: Linked + Send + Sync + 'static>(
        self,
        name: impl Into<String>,
        link: L,
    ) -> Self {
        self.link(name.into(), true, link)
    }

    /// The entity's columns, and what its relations lead to.
    ///
    /// # Errors
    /// The database's.
    pub async fn to_json<M>(&self, model: &M, db: &C) -> Result<Value, DbErr>
    where
        M: ModelTrait + 'static,
    {
        self.object(model, db, &[]).await
    }

    fn link<L>(mut self, name: String, to_many: bool, link: L) -> Self
    where
        L: Linked + Send + Sync + 'static,
    {
        let follow: Follow<C> = Box::new(move |model, all, db, path| {
            let model = model.downcast_ref::<<L::FromEntity as EntityTrait>::Model>();
            let query = model.map(|model| in_order(model.find_linked(Borrowed(&link))));
            let becomes_id = path.contains(&TypeId::of::<L::ToEntity>());
            let path = [path, &[TypeId::of::<L::FromEntity>()]].concat();
            Box::pin(async move {
                let mut found = Vec::new();
                if let Some(query) = query {
                    for row in query.all(db).await? {
                        found.push(match becomes_id {
                            true => id(&row),
                            false => all.object(&row, db, &path).await?,
                        });
                    }
                }
                Ok(match to_many {
                    true => Value::Array(found),
                    false => found.into_iter().next().unwrap_or_default(),
                })
            })
        });
        let from = TypeId::of::<L::FromEntity>();
        self.followed.entry(from).or_default().push((name, follow));
        self
    }

    /// What is needed of the model is read at once: the future does not borrow it.
    fn object<'a, M>(&'a self, model: &M, db: &'a C, path: &[TypeId]) -> Pending<'a>
    where
        M: ModelTrait + 'static,
    {
        let mut members: Map<_, _> = <M::Entity as EntityTrait>::Column::iter()
            .map(|column| (column.as_str().to_owned(), to_value(model.get(column))))
            .collect();
        let followed = self.followed.get(&TypeId::of::<M::Entity>());
        let pending: Vec<_> = followed
            .into_iter()
            .flatten()
            .map(|(name, follow)| (name.clone(), follow(model, self, db, path)))
            .collect();
        Box::pin(async move {
            for (name, value) in pending {
                members.insert(name, value.await?);
            }
            Ok(Value::Object(members))
        })
    }
}

impl<C> Default for Relations<C> {
    fn default() -> Self {
        Self {
            followed: HashMap::new(),
        }
    }
}

impl<C> fmt::Debug for Relations<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.followed.values().flatten().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

/// One relation as a path, whose tables get names of their own: an entity may lead to itself.
struct Single<F: EntityTrait, T>(F::Relation, PhantomData<fn() -> T>);

impl<F: EntityTrait, T: EntityTrait> Linked for Single<F, T> {
    type FromEntity = F;
    type ToEntity = T;

    fn link(&self) -> Vec<RelationDef> {
        vec![self.0.def()]
    }
}

struct Borrowed<'a, L>(&'a L);

impl<L: Linked> Linked for Borrowed<'_, L> {
    type FromEntity = L::FromEntity;
    type ToEntity = L::ToEntity;

    fn link(&self) -> Vec<RelationDef> {
        self.0.link()
    }
}

fn in_order<E: EntityTrait>(query: Select<E>) -> Select<E> {
    E::PrimaryKey::iter().fold(query, |query, key| query.order_by_asc(key.into_column()))
}

fn id<M: ModelTrait>(model: &M) -> Value {
    let mut values: Vec<_> = <M::Entity as EntityTrait>::PrimaryKey::iter()
        .map(|key| to_value(model.get(key.into_column())))
        .collect();
    match values.len() {
        1 => values.remove(0),
        _ => Value::Array(values),
    }
}

/// A column's value. SeaORM has the like, but panics at bytes, and writes times as SQL.
fn to_value(column: Column) -> Value {
    fn seconds<T: ToEpoch>(time: Option<Box<T>>) -> Value {
        time.map(|time| time.to_epoch() as f64).into()
    }
    fn iso<T: fmt::Debug>(time: Option<Box<T>>) -> Value {
        time.map(|time| format!("{time:?}")).into()
    }
    match column {
        Column::Bytes(bytes) => bytes.map(|bytes| to_base64(&bytes)).into(),
        Column::Array(_, items) => items
            .map(|items| items.into_iter().map(to_value).collect::<Vec<_>>())
            .into(),
        Column::ChronoDateTimeUtc(time) => seconds(time),
        Column::ChronoDateTimeLocal(time) => seconds(time),
        Column::ChronoDateTimeWithTimeZone(time) => seconds(time),
        Column::TimeDateTimeWithTimeZone(time) => seconds(time),
        // `Debug` is ISO 8601, by chrono's documentation.
        Column::ChronoDate(time) => iso(time),
        Column::ChronoTime(time) => iso(time),
        Column::ChronoDateTime(time) => iso(time),
        Column::TimeDate(time) => time
            .and_then(|time| time.format(&Iso8601::DATE).ok())
            .into(),
        Column::TimeTime(time) => time
            .and_then(|time| time.format(&Iso8601::TIME).ok())
            .into(),
        Column::TimeDateTime(time) => time
            .and_then(|time| time.format(&Iso8601::DATE_TIME).ok())
            .into(),
        other => sea_value_to_json_value(&other),
    }
}

fn to_base64(bytes: &[u8]) -> String {
    let mut text = vec![0; base64::encoded_len(bytes.len(), Wrapping::None)];
    // It is exactly as long as it must be.
    let _ = base64::encode(bytes, Wrapping::None, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// A variant's name as that of a member.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::dumps;
    use chrono::{DateTime, FixedOffset, Local, Utc};
    use sea_orm::sea_query::ArrayType;
    use serde_json::json;

    #[test]
    fn every_kind_of_column_becomes_json_and_none_panics() {
        let utc: DateTime<Utc> = DateTime::from_timestamp(1_795_430_850, 250_000_000).unwrap();
        let fixed = utc.with_timezone(&FixedOffset::east_opt(7200).unwrap());
        let naive = utc.naive_utc();
        let offset = time::OffsetDateTime::from_unix_timestamp(1_795_430_850).unwrap();
        let bytes = || Column::Bytes(Some(Box::new(vec![0xff, 0, 0x7f])));
        for (column, expected) in [
            (bytes(), json!("/wB/")),
            (Column::Bytes(None), json!(null)),
            (
                Column::Array(ArrayType::Bytes, Some(Box::new(vec![bytes()]))),
                json!(["/wB/"]),
            ),
            (Column::Array(ArrayType::Int, None), json!(null)),
            (utc.into(), json!(1_795_430_850.0)),
            (fixed.into(), json!(1_795_430_850.0)),
            (utc.with_timezone(&Local).into(), json!(1_795_430_850.0)),
            (offset.into(), json!(1_795_430_850.0)),
            (naive.into(), json!("2026-11-23T10:47:30.250")),
            (naive.date().into(), json!("2026-11-23")),
            (naive.time().into(), json!("10:47:30.250")),
            (offset.date().into(), json!("2026-11-23")),
            (Column::ChronoDate(None), json!(null)),
            (Column::ChronoDateTimeUtc(None), json!(null)),
            (Column::TimeDateTime(None), json!(null)),
            (f64::NAN.into(), json!(null)),
            (u64::MAX.into(), json!(u64::MAX)),
            ("caf\u{e9}".into(), json!("caf\u{e9}")),
            (json!({"a": [1]}).into(), json!({"a": [1]})),
        ] {
            assert_eq!(to_value(column), expected);
        }
        let time = time::PrimitiveDateTime::new(offset.date(), offset.time());
        let text = dumps(&[to_value(time.into()), to_value(time.time().into())]).unwrap();
        assert_eq!(
            text,
            r#"["2026-11-23T10:47:30.000000000","10:47:30.000000000"]"#
        );
    }

    #[test]
    fn a_relation_is_called_as_its_variant() {
        for (variant, name) in [
            ("Fruit", "fruit"),
            ("SelfRef", "self_ref"),
            ("Fruit2", "fruit2"),
        ] {
            assert_eq!(snake_case(variant), name);
        }
    }
}
