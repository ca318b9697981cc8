//! Entities of a database in memory become JSON, with what their relations lead to.

use chrono::DateTime;
use fedmsg::encoding::{dumps, sea_orm::Relations};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, Database, DatabaseConnection, EntityTrait, IntoActiveModel,
    RelationDef, RelationTrait, Schema, TransactionTrait,
};
use serde_json::{Value, json};

mod author {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "author")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        pub name: String,
        pub password_hash: String,
        pub joined: DateTimeUtc,
        pub picture: Option<Vec<u8>>,
        pub mentor_id: Option<i32>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        #[sea_orm(has_many = "super::post::Entity")]
        Posts,
        #[sea_orm(has_one = "super::profile::Entity")]
        Profile,
        #[sea_orm(belongs_to = "Entity", from = "Column::MentorId", to = "Column::Id")]
        TheMentor,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod profile {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "profile")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        #[sea_orm(unique)]
        pub author_id: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        #[sea_orm(
            belongs_to = "super::author::Entity",
            from = "Column::AuthorId",
            to = "super::author::Column::Id"
        )]
        Author,
    }

    impl Related<super::author::Entity> for Entity {
        fn to() -> RelationDef {
            Relation::Author.def()
        }
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod post {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "post")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        pub title: String,
        pub author_id: Option<i32>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        #[sea_orm(
            belongs_to = "super::author::Entity",
            from = "Column::AuthorId",
            to = "super::author::Column::Id"
        )]
        Author,
        #[sea_orm(has_many = "super::post_tag::Entity")]
        Marks,
    }

    impl Related<super::author::Entity> for Entity {
        fn to() -> RelationDef {
            Relation::Author.def()
        }
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod tag {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "tag")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        pub word: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Which post has which tag.
mod post_tag {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "post_tag")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub post_id: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub tag_id: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        #[sea_orm(
            belongs_to = "super::post::Entity",
            from = "Column::PostId",
            to = "super::post::Column::Id"
        )]
        Post,
        #[sea_orm(
            belongs_to = "super::tag::Entity",
            from = "Column::TagId",
            to = "super::tag::Column::Id"
        )]
        Tag,
    }

    impl Related<super::post::Entity> for Entity {
        fn to() -> RelationDef {
            Relation::Post.def()
        }
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// From a post over the junction to its tags.
struct Tags;

impl sea_orm::Linked for Tags {
    type FromEntity = post::Entity;
    type ToEntity = tag::Entity;

    fn link(&self) -> Vec<RelationDef> {
        vec![
            post_tag::Relation::Post.def().rev(),
            post_tag::Relation::Tag.def(),
        ]
    }
}

#[test]
fn without_relations_there_are_all_columns() {
    run(async |db| {
        let ada = find::<author::Entity>(db, 1).await;
        assert_eq!(
            Relations::new().to_json(&ada, db).await.unwrap(),
            columns_of_ada()
        );
        let profile = find::<profile::Entity>(db, 9).await;
        let json = Relations::new().to_json(&profile, db).await.unwrap();
        assert_eq!(dumps(&json).unwrap(), r#"{"author_id":1,"id":9}"#);
    });
}

#[test]
fn one_to_many_is_a_list_in_order_and_leads_back_to_an_id() {
    run(async |db| {
        let mut expected = columns_of_ada();
        expected["posts"] = json!([
            {"id": 11, "title": "Notes", "author_id": 1, "author": 1},
            {"id": 12, "title": "More notes", "author_id": 1, "author": 1},
        ]);
        expected["profile"] = json!({"id": 9, "author_id": 1, "author": 1});
        let ada = find::<author::Entity>(db, 1).await;
        assert_eq!(relations().to_json(&ada, db).await.unwrap(), expected);
        // Nothing to list, no profile.
        let json = relations()
            .to_json(&find::<author::Entity>(db, 3).await, db)
            .await;
        let json = json.unwrap();
        assert_eq!(
            [&json["posts"], &json["profile"]],
            [&json!([]), &Value::Null]
        );
    });
}

#[test]
fn many_to_one_is_an_object_with_what_it_leads_to() {
    run(async |db| {
        let json = relations()
            .to_json(&find::<post::Entity>(db, 11).await, db)
            .await;
        let mut expected = columns_of_ada();
        expected["posts"] = json!([11, 12]);
        expected["profile"] = json!({"id": 9, "author_id": 1, "author": 1});
        assert_eq!(
            json.unwrap(),
            json!({"id": 11, "title": "Notes", "author_id": 1, "author": expected})
        );
    });
}

#[test]
fn a_relation_that_leads_nowhere_is_null() {
    run(async |db| {
        let json = relations()
            .to_json(&find::<post::Entity>(db, 13).await, db)
            .await;
        assert_eq!(
            json.unwrap(),
            json!({"id": 13, "title": "Anonymous", "author_id": null, "author": null})
        );
    });
}

#[test]
fn an_entity_that_leads_to_its_own_kind_is_followed_once() {
    let relations =
        Relations::new().follow(author::Entity, author::Relation::TheMentor, author::Entity);
    run(async move |db| {
        // Number 3 has 2 for a mentor, and 2 has 1.
        let json = relations
            .to_json(&find::<author::Entity>(db, 3).await, db)
            .await
            .unwrap();
        assert_eq!(json["the_mentor"]["id"], 2);
        assert_eq!(json["the_mentor"]["the_mentor"], 1);
        // Number 4 is its own.
        let json = relations
            .to_json(&find::<author::Entity>(db, 4).await, db)
            .await
            .unwrap();
        assert_eq!(json["the_mentor"]["id"], 4);
        assert_eq!(json["the_mentor"]["the_mentor"], 4);
        let json = relations
            .to_json(&find::<author::Entity>(db, 1).await, db)
            .await
            .unwrap();
        assert_eq!(json["the_mentor"], Value::Null);
    });
}

#[test]
fn a_path_over_a_junction_is_a_list_and_an_id_of_two_columns_too() {
    let relations = Relations::new()
        .follow_linked("tags", Tags)
        .follow(post::Entity, post::Relation::Marks, post_tag::Entity)
        .follow(post_tag::Entity, post_tag::Relation::Post, post::Entity);
    let back = Relations::new()
        .follow(post_tag::Entity, post_tag::Relation::Post, post::Entity)
        .follow(post::Entity, post::Relation::Marks, post_tag::Entity);
    run(async move |db| {
        let json = relations
            .to_json(&find::<post::Entity>(db, 11).await, db)
            .await
            .unwrap();
        assert_eq!(
            json["tags"],
            json!([{"id": 21, "word": "sums"}, {"id": 22, "word": "wheels"}])
        );
        assert_eq!(
            json["marks"],
            json!([
                {"post_id": 11, "tag_id": 21, "post": 11},
                {"post_id": 11, "tag_id": 22, "post": 11},
            ])
        );
        let mark = post_tag::Entity::find_by_id((11, 21))
            .one(db)
            .await
            .unwrap()
            .unwrap();
        let json = back.to_json(&mark, db).await.unwrap();
        assert_eq!(json["post"]["marks"], json!([[11, 21], [11, 22]]));
    });
}

#[test]
fn it_works_in_a_transaction_and_on_another_thread() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    run(async |db| {
        let relations =
            Relations::new().follow(post::Entity, post::Relation::Author, author::Entity);
        let transaction = db.begin().await.unwrap();
        let post = post::Entity::find_by_id(11)
            .one(&transaction)
            .await
            .unwrap()
            .unwrap();
        let json = sendable(relations.to_json(&post, &transaction))
            .await
            .unwrap();
        assert_eq!(json["author"], columns_of_ada());
    });
}

#[test]
fn what_the_database_refuses_is_an_error() {
    run(async |db| {
        let post = find::<post::Entity>(db, 11).await;
        let drop = "PRAGMA foreign_keys = OFF; DROP TABLE author";
        db.execute_unprepared(drop).await.unwrap();
        let error = relations().to_json(&post, db).await.unwrap_err();
        assert!(
            error.to_string().contains("no such table: author"),
            "{error}"
        );
    });
}

fn relations() -> Relations<DatabaseConnection> {
    Relations::new()
        .follow(author::Entity, author::Relation::Posts, post::Entity)
        .follow(author::Entity, author::Relation::Profile, profile::Entity)
        .follow(post::Entity, post::Relation::Author, author::Entity)
        .follow(profile::Entity, profile::Relation::Author, author::Entity)
}

fn columns_of_ada() -> Value {
    json!({
        "id": 1, "name": "Ada", "password_hash": "$2b$…", "joined": 1_795_430_850.0,
        "picture": "/9g=", "mentor_id": null,
    })
}

async fn find<E: EntityTrait<PrimaryKey: sea_orm::PrimaryKeyTrait<ValueType = i32>>>(
    db: &DatabaseConnection,
    id: i32,
) -> E::Model {
    E::find_by_id(id).one(db).await.unwrap().unwrap()
}

/// With a database that holds the examples.
fn run(test: impl AsyncFnOnce(&DatabaseConnection)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        // One connection: each has a memory of its own.
        let mut options = sea_orm::ConnectOptions::new("sqlite::memory:");
        options.max_connections(1);
        let db = Database::connect(options).await.unwrap();
        create(&db, author::Entity).await;
        create(&db, profile::Entity).await;
        create(&db, post::Entity).await;
        create(&db, tag::Entity).await;
        create(&db, post_tag::Entity).await;
        for (id, name, mentor_id) in [
            (1, "Ada", None),
            (2, "Grace", Some(1)),
            (3, "Noor", Some(2)),
            (4, "Zeno", Some(4)),
        ] {
            let author = author::Model {
                id,
                name: name.to_owned(),
                password_hash: "$2b$…".to_owned(),
                joined: DateTime::from_timestamp(1_795_430_850, 0).unwrap(),
                picture: (id == 1).then(|| vec![0xff, 0xd8]),
                mentor_id,
            };
            author.into_active_model().insert(&db).await.unwrap();
        }
        let profile = profile::Model {
            id: 9,
            author_id: 1,
        };
        profile.into_active_model().insert(&db).await.unwrap();
        // Not in their order.
        for (id, title, author_id) in [
            (12, "More notes", Some(1)),
            (13, "Anonymous", None),
            (11, "Notes", Some(1)),
        ] {
            let title = title.to_owned();
            let post = post::Model {
                id,
                title,
                author_id,
            };
            post.into_active_model().insert(&db).await.unwrap();
        }
        for (id, word) in [(22, "wheels"), (21, "sums")] {
            let tag = tag::Model {
                id,
                word: word.to_owned(),
            };
            tag.into_active_model().insert(&db).await.unwrap();
            let mark = post_tag::Model {
                post_id: 11,
                tag_id: id,
            };
            mark.into_active_model().insert(&db).await.unwrap();
        }
        test(&db).await;
    });
}

async fn create<E: EntityTrait>(db: &DatabaseConnection, entity: E) {
    let backend = db.get_database_backend();
    let table = Schema::new(backend).create_table_from_entity(entity);
    db.execute(backend.build(&table)).await.unwrap();
}
