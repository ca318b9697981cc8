//! Any `Serialize` value in canonical form.

use core::fmt::{self, Write as _};

use serde::ser::{self, Impossible, Serialize};

use super::writer::{Object, Step};
use super::{Error, ErrorKind, Writer};

/// Writes a `Serialize` value in canonical form.
///
/// Members may come in any order and in any number; they are sorted when their object closes. Of
/// repeated keys the last value counts. A map key that is an integer, a finite floating-point
/// number, a Boolean or none becomes its text, as in Python, and is sorted as text: that is what
/// whoever validates the message sees. Other keys are an error. Bytes are written as a list of
/// numbers, enum variants externally tagged (as `serde_json` has them), an `f32` as the `f64` of
/// the same value.
///
/// The stack it uses grows with the depth of the value, as is usual with `Serialize`.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Serializer<'w, 'b> {
    writer: &'w mut Writer<'b>,
}

impl<'w, 'b> Serializer<'w, 'b> {
    /// A serializer that appends to a writer. After an error the writer holds what was written
    /// before it; [`Writer::value`] takes that back.
    pub fn new(writer: &'w mut Writer<'b>) -> Self {
        Serializer { writer }
    }

    fn bare(self, content: impl FnOnce(&mut Writer<'_>) -> Step) -> Result<(), Error> {
        step(self.writer, content)
    }

    fn list(self, end: &'static [u8]) -> Result<List<'w, 'b>, Error> {
        step(self.writer, |writer| writer.byte(b'['))?;
        Ok(List {
            writer: self.writer,
            empty: true,
            end,
        })
    }

    fn members(self, end: &'static [u8]) -> Result<Members<'w, 'b>, Error> {
        step(self.writer, |writer| writer.byte(b'{'))?;
        Ok(Members {
            object: self.writer.object(),
            writer: self.writer,
            end,
        })
    }

    /// Begins an object whose only member is an enum variant.
    fn begin_variant(&mut self, name: &str) -> Result<(), Error> {
        step(self.writer, |writer| {
            writer.byte(b'{')?;
            writer.quoted_text(name)?;
            writer.byte(b':')
        })
    }
}

/// Takes a step; says where the output stood if it fails.
fn step(writer: &mut Writer<'_>, step: impl FnOnce(&mut Writer<'_>) -> Step) -> Result<(), Error> {
    step(writer).map_err(|kind| writer.error(kind))
}

/// What a value and a map key have in common: numbers, Booleans and none are put down by
/// `self.bare`, which a key does in quotes.
macro_rules! scalars {
    () => {
        scalars! {
            serialize_i8(value: i8) integer(value < 0, value.unsigned_abs().into()),
            serialize_i16(value: i16) integer(value < 0, value.unsigned_abs().into()),
            serialize_i32(value: i32) integer(value < 0, value.unsigned_abs().into()),
            serialize_i64(value: i64) integer(value < 0, value.unsigned_abs().into()),
            serialize_i128(value: i128) wide_integer(value < 0, value.unsigned_abs()),
            serialize_u8(value: u8) integer(false, value.into()),
            serialize_u16(value: u16) integer(false, value.into()),
            serialize_u32(value: u32) integer(false, value.into()),
            serialize_u64(value: u64) integer(false, value.into()),
            serialize_u128(value: u128) wide_integer(false, value),
            serialize_f32(value: f32) finite(value.into()),
            serialize_f64(value: f64) finite(value),
        }
    };
    ($($method:ident($value:ident: $type:ty) $write:ident($($argument:expr),*),)*) => {
        type Ok = ();
        type Error = Error;

        $(fn $method(self, $value: $type) -> Result<(), Error> {
            self.bare(|writer| writer.$write($($argument),*))
        })*

        fn serialize_bool(self, value: bool) -> Result<(), Error> {
            self.bare(|writer| writer.put(if value { b"true" } else { b"false" }))
        }

        fn serialize_none(self) -> Result<(), Error> {
            self.bare(|writer| writer.put(b"null"))
        }

        fn serialize_unit(self) -> Result<(), Error> {
            self.serialize_none()
        }

        fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
            self.serialize_none()
        }

        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
            value.serialize(self)
        }

        fn serialize_newtype_struct<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            value: &T,
        ) -> Result<(), Error> {
            value.serialize(self)
        }

        fn serialize_str(self, text: &str) -> Result<(), Error> {
            step(self.writer, |writer| writer.quoted_text(text))
        }

        fn serialize_char(self, character: char) -> Result<(), Error> {
            self.serialize_str(character.encode_utf8(&mut [0; 4]))
        }

        fn serialize_unit_variant(
            self,
            _: &'static str,
            _: u32,
            variant: &'static str,
        ) -> Result<(), Error> {
            self.serialize_str(variant)
        }

        fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Error> {
            step(self.writer, |writer| {
                writer.quoted(|writer| {
                    let mut escaped = Escaped { writer, result: Ok(()) };
                    match write!(escaped, "{value}") {
                        Ok(()) => Ok(()),
                        Err(fmt::Error) => Err(escaped.result.err().unwrap_or(ErrorKind::Custom)),
                    }
                })
            })
        }
    };
}

impl<'w, 'b> ser::Serializer for Serializer<'w, 'b> {
    scalars!();

    type SerializeSeq = List<'w, 'b>;
    type SerializeTuple = List<'w, 'b>;
    type SerializeTupleStruct = List<'w, 'b>;
    type SerializeTupleVariant = List<'w, 'b>;
    type SerializeMap = Members<'w, 'b>;
    type SerializeStruct = Members<'w, 'b>;
    type SerializeStructVariant = Members<'w, 'b>;

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.collect_seq(bytes)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.begin_variant(variant)?;
        value.serialize(Serializer::new(self.writer))?;
        step(self.writer, |writer| writer.byte(b'}'))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'w, 'b>, Error> {
        self.list(b"]")
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'w, 'b>, Error> {
        self.list(b"]")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'w, 'b>, Error> {
        self.list(b"]")
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'w, 'b>, Error> {
        self.begin_variant(variant)?;
        self.list(b"]}")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'w, 'b>, Error> {
        self.members(b"}")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'w, 'b>, Error> {
        self.members(b"}")
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w, 'b>, Error> {
        self.begin_variant(variant)?;
        self.members(b"}}")
    }
}

/// A list that is being written.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct List<'w, 'b> {
    writer: &'w mut Writer<'b>,
    empty: bool,
    /// What closes the list, and the variant around it.
    end: &'static [u8],
}

impl List<'_, '_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if !self.empty {
            step(self.writer, |writer| writer.byte(b','))?;
        }
        self.empty = false;
        value.serialize(Serializer::new(self.writer))
    }

    fn close(self) -> Result<(), Error> {
        step(self.writer, |writer| writer.put(self.end))
    }
}

/// An object that is being written.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Members<'w, 'b> {
    writer: &'w mut Writer<'b>,
    object: Object,
    /// What closes the object, and the variant around it.
    end: &'static [u8],
}

impl Members<'_, '_> {
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        step(self.writer, |writer| writer.begin_member(&mut self.object))?;
        key.serialize(Key {
            writer: self.writer,
        })?;
        step(self.writer, |writer| writer.end_key(&mut self.object))
    }

    fn member<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.key(key)?;
        value.serialize(Serializer::new(self.writer))
    }

    fn close(self) -> Result<(), Error> {
        step(self.writer, |writer| {
            writer.end_members(&self.object)?;
            writer.put(self.end)
        })
    }
}

macro_rules! list {
    ($($trait:ident $method:ident,)*) => {$(
        impl ser::$trait for List<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

list! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! members {
    ($($trait:ident,)*) => {$(
        impl ser::$trait for Members<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.member(key, value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

members! {
    SerializeStruct,
    SerializeStructVariant,
}

impl ser::SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(Serializer::new(self.writer))
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

/// Writes a map key.
struct Key<'w, 'b> {
    writer: &'w mut Writer<'b>,
}

impl Key<'_, '_> {
    fn bare(self, content: impl FnOnce(&mut Writer<'_>) -> Step) -> Result<(), Error> {
        step(self.writer, |writer| writer.quoted(content))
    }

    fn refuse<T>(self) -> Result<T, Error> {
        Err(self.writer.error(ErrorKind::KeyNotString))
    }
}

impl ser::Serializer for Key<'_, '_> {
    scalars!();

    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        self.refuse()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        self.refuse()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        self.refuse()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        self.refuse()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        self.refuse()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        self.refuse()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        self.refuse()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Error> {
        self.refuse()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        self.refuse()
    }
}

/// Takes formatted text into a string, escaped.
struct Escaped<'w, 'b> {
    writer: &'w mut Writer<'b>,
    result: Step,
}

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.result = self.writer.escaped(text);
        self.result.map_err(|_| fmt::Error)
    }
}
