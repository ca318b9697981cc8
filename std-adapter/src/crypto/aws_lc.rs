//! What is used of AWS-LC (OpenSSL's kin, in C), in safe Rust: RSA keys, certificates, revocation
//! lists, and the verdict on a chain. It is built by a C compiler alone.
//!
//! Each type owns one C object, whose functions are told nothing but valid pointers and true
//! lengths. The objects that are `Sync` are not changed once they are made, but for reference
//! counts and caches that AWS-LC guards itself (`include/openssl/x509.h` and `rsa.h`: "thread-safe
//! for const functions").
#![expect(unsafe_code, reason = "AWS-LC is a C library")]

use std::{
    ffi::{c_int, c_long, c_void},
    ptr::{self, NonNull},
    slice,
};

use aws_lc_sys as ffi;
use der::zeroize::Zeroizing;

/// A C object, freed with its owner.
struct Owned<T: Free>(NonNull<T>);

trait Free {
    const FREE: unsafe extern "C" fn(*mut Self);
}

impl<T: Free> Owned<T> {
    /// Takes over what a function gave that makes a new object or a new reference; `None` where
    /// it failed.
    ///
    /// # Safety
    /// The pointer is null or such an object's.
    unsafe fn take(pointer: *mut T) -> Option<Self> {
        let owned = NonNull::new(pointer).map(Self);
        if owned.is_none() {
            clear_errors();
        }
        owned
    }

    fn get(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Free> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it is this owner's, and nobody uses it after this.
        unsafe { T::FREE(self.get()) }
    }
}

macro_rules! free {
    ($($type:ident by $free:ident),+) => {
        $(impl Free for ffi::$type {
            const FREE: unsafe extern "C" fn(*mut Self) = ffi::$free;
        })+
    };
}

free!(
    BIGNUM by BN_free, EVP_PKEY by EVP_PKEY_free, RSA by RSA_free, X509 by X509_free,
    X509_CRL by X509_CRL_free, X509_STORE by X509_STORE_free, X509_STORE_CTX by X509_STORE_CTX_free
);

/// An RSA key: public, or private with its public part.
pub(super) struct Rsa(Owned<ffi::RSA>);

// SAFETY: not changed after it is made, but for what AWS-LC guards by a lock (blinding, Montgomery
// contexts); see above.
unsafe impl Send for Rsa {}
// SAFETY: as above.
unsafe impl Sync for Rsa {}

impl Rsa {
    /// Makes a private key with the exponent 65537.
    pub(super) fn generate(bits: u16) -> Option<Self> {
        // SAFETY: both objects are new; the callback may be null.
        unsafe {
            let (exponent, key) = (Owned::take(ffi::BN_new())?, Owned::take(ffi::RSA_new())?);
            let made = ffi::BN_set_word(exponent.get(), 65537) == 1
                && ffi::RSA_generate_key_ex(
                    key.get(),
                    bits.into(),
                    exponent.get(),
                    ptr::null_mut(),
                ) == 1;
            checked(made).then_some(Self(key))
        }
    }

    /// Of a `RSAPrivateKey` in DER (PKCS#1), all of it.
    pub(super) fn private(der: &[u8]) -> Option<Self> {
        // SAFETY: the bytes are only read.
        unsafe { Owned::take(ffi::RSA_private_key_from_bytes(der.as_ptr(), der.len())).map(Self) }
    }

    /// Of a `RSAPublicKey` in DER, all of it.
    pub(super) fn public(der: &[u8]) -> Option<Self> {
        // SAFETY: the bytes are only read.
        unsafe { Owned::take(ffi::RSA_public_key_from_bytes(der.as_ptr(), der.len())).map(Self) }
    }

    /// `RSAPrivateKey` in DER.
    pub(super) fn private_to_der(&self) -> Option<Zeroizing<Vec<u8>>> {
        // SAFETY: it fills in both, and what it gives is freed by `bytes`.
        let der =
            unsafe { bytes(|out, len| ffi::RSA_private_key_to_bytes(out, len, self.0.get())) };
        der.map(Zeroizing::new)
    }

    /// `RSAPublicKey` in DER.
    pub(super) fn public_to_der(&self) -> Option<Vec<u8>> {
        // SAFETY: as above.
        unsafe { bytes(|out, len| ffi::RSA_public_key_to_bytes(out, len, self.0.get())) }
    }

    pub(super) fn bits(&self) -> u32 {
        // SAFETY: it is alive.
        unsafe { ffi::RSA_bits(self.0.get()) }
    }

    /// The length of its signatures, in bytes.
    pub(super) fn size(&self) -> usize {
        // SAFETY: it is alive.
        unsafe { ffi::RSA_size(self.0.get()) as usize }
    }

    /// Signs by PKCS#1 v1.5 into `out`, of [`size`](Self::size) bytes at least; gives the length.
    pub(super) fn sign(&self, digest: &Digest, out: &mut [u8]) -> Option<usize> {
        if out.len() < self.size() {
            return None;
        }
        let mut len = 0;
        // SAFETY: `out` has room for a signature, as was just looked at.
        let signed = unsafe {
            ffi::RSA_sign(
                digest.hash.nid(),
                digest.bytes.as_ptr(),
                digest.len,
                out.as_mut_ptr(),
                &raw mut len,
                self.0.get(),
            )
        };
        checked(signed == 1).then_some(len as usize)
    }

    /// Whether this is its signature by PKCS#1 v1.5.
    pub(super) fn verify(&self, digest: &Digest, signature: &[u8]) -> bool {
        // SAFETY: all is only read.
        let verified = unsafe {
            ffi::RSA_verify(
                digest.hash.nid(),
                digest.bytes.as_ptr(),
                digest.len,
                signature.as_ptr(),
                signature.len(),
                self.0.get(),
            )
        };
        checked(verified == 1)
    }
}

/// The hash functions that are signed with.
#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn nid(self) -> c_int {
        match self {
            Self::Sha1 => ffi::NID_sha1,
            Self::Sha256 => ffi::NID_sha256,
            Self::Sha384 => ffi::NID_sha384,
            Self::Sha512 => ffi::NID_sha512,
        }
    }
}

/// What is signed of a text.
pub(super) struct Digest {
    hash: Hash,
    bytes: [u8; ffi::EVP_MAX_MD_SIZE as usize],
    len: usize,
}

impl Digest {
    pub(super) fn of(hash: Hash, text: &[u8]) -> Option<Self> {
        let mut digest = Self::empty(hash);
        let mut len = 0;
        // SAFETY: every digest fits; `len` is filled in; the hash function is a constant of theirs,
        // and an engine may be null.
        let made = unsafe {
            ffi::EVP_Digest(
                text.as_ptr().cast(),
                text.len(),
                digest.bytes.as_mut_ptr(),
                &raw mut len,
                ffi::EVP_get_digestbynid(hash.nid()),
                ptr::null_mut(),
            )
        };
        digest.len = len as usize;
        checked(made == 1).then_some(digest)
    }

    /// SHA-1 of a text in pieces.
    pub(super) fn sha1(pieces: &[&[u8]]) -> Self {
        let mut digest = Self::empty(Hash::Sha1);
        digest.len = ffi::SHA_DIGEST_LENGTH as usize;
        // SAFETY: all zero is a valid value of plain numbers, the context is made good first, and
        // the digest fits. None of these can fail.
        unsafe {
            let mut context: ffi::SHA_CTX = std::mem::zeroed();
            ffi::SHA1_Init(&raw mut context);
            for piece in pieces {
                ffi::SHA1_Update(&raw mut context, piece.as_ptr().cast(), piece.len());
            }
            ffi::SHA1_Final(digest.bytes.as_mut_ptr(), &raw mut context);
        }
        digest
    }

    fn empty(hash: Hash) -> Self {
        Self {
            hash,
            bytes: [0; ffi::EVP_MAX_MD_SIZE as usize],
            len: 0,
        }
    }
}

/// A certificate.
pub(super) struct Certificate(Owned<ffi::X509>);

// SAFETY: not changed after it is made, but for what AWS-LC guards by a lock; see above.
unsafe impl Send for Certificate {}
// SAFETY: as above.
unsafe impl Sync for Certificate {}

impl Certificate {
    /// Reads DER, all of it.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        // SAFETY: `d2i_X509` reads so many bytes at most and makes a new object.
        unsafe { parse(der, ffi::d2i_X509).map(Self) }
    }

    /// Whether it may issue others, as far as it says itself.
    pub(super) fn is_ca(&self) -> bool {
        // SAFETY: it is alive; what this notes in it is guarded by a lock.
        checked(unsafe { ffi::X509_check_ca(self.0.get()) != 0 })
    }

    /// Its public key, if that is one of RSA.
    pub(super) fn rsa_key(&self) -> Option<Rsa> {
        // SAFETY: the key is borrowed from the certificate, which is alive; what is made of it is a
        // reference of its own.
        unsafe {
            let key = ffi::X509_get0_pubkey(self.0.get());
            if key.is_null() {
                clear_errors();
                return None;
            }
            Owned::take(ffi::EVP_PKEY_get1_RSA(key)).map(Rsa)
        }
    }

    /// The first common name of its subject.
    pub(super) fn common_name(&self) -> Option<String> {
        // SAFETY: name, entry and text are borrowed from the certificate, which is alive; the text
        // in UTF-8 is freed by `bytes`.
        unsafe {
            let subject = ffi::X509_get_subject_name(self.0.get());
            let at = ffi::X509_NAME_get_index_by_NID(subject, ffi::NID_commonName, -1);
            let entry = ffi::X509_NAME_get_entry(subject, at);
            if at < 0 || entry.is_null() {
                return None;
            }
            let text = ffi::X509_NAME_ENTRY_get_data(entry);
            let text = bytes(|out, len| {
                let written = ffi::ASN1_STRING_to_UTF8(out, text);
                *len = usize::try_from(written).unwrap_or(0);
                c_int::from(written >= 0)
            })?;
            String::from_utf8(text).ok()
        }
    }

    /// From when and until when it is valid.
    pub(super) fn dates(&self) -> [Option<i64>; 2] {
        // SAFETY: the times are borrowed from the certificate, which is alive.
        unsafe {
            [
                seconds(ffi::X509_get0_notBefore(self.0.get())),
                seconds(ffi::X509_get0_notAfter(self.0.get())),
            ]
        }
    }
}

/// A revocation list.
pub(super) struct List(Owned<ffi::X509_CRL>);

// SAFETY: not changed after it is made, but for what AWS-LC guards by a lock; see above.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

impl List {
    /// Reads DER, all of it.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        // SAFETY: `d2i_X509_CRL` reads so many bytes at most and makes a new object.
        unsafe { parse(der, ffi::d2i_X509_CRL).map(Self) }
    }

    /// Whether this CA signed it.
    pub(super) fn is_signed_by(&self, ca: &Certificate) -> bool {
        // SAFETY: the key is borrowed from the certificate, which is alive, or null.
        unsafe {
            let key = ffi::X509_get0_pubkey(ca.0.get());
            checked(!key.is_null() && ffi::X509_CRL_verify(self.0.get(), key) == 1)
        }
    }

    /// From when and until when it is valid.
    pub(super) fn dates(&self) -> [Option<i64>; 2] {
        // SAFETY: the times are borrowed from the list, which is alive; the second may be null.
        unsafe {
            [
                seconds(ffi::X509_CRL_get0_lastUpdate(self.0.get())),
                seconds(ffi::X509_CRL_get0_nextUpdate(self.0.get())),
            ]
        }
    }
}

/// Trusted certificates and their revocation lists.
pub(super) struct Store(Owned<ffi::X509_STORE>);

// SAFETY: nothing is added after it is made; looking things up AWS-LC guards by a lock.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// Takes references to all of them.
    pub(super) fn new(certificates: &[Certificate], lists: &[List]) -> Option<Self> {
        // SAFETY: all objects are alive, the store is new, and takes references of its own.
        unsafe {
            let store = Owned::take(ffi::X509_STORE_new())?;
            let mut added = certificates
                .iter()
                .map(|certificate| ffi::X509_STORE_add_cert(store.get(), certificate.0.get()))
                .chain(
                    lists
                        .iter()
                        .map(|list| ffi::X509_STORE_add_crl(store.get(), list.0.get())),
                );
            let all = added.all(|added| added == 1);
            drop(added);
            checked(all).then_some(Self(store))
        }
    }

    /// What `X509_verify_cert` says of a certificate at this time: `X509_V_OK`, or what is wrong.
    /// With `revocation` each certificate of the chain must not be on its CA's list.
    pub(super) fn verify(&self, certificate: &Certificate, at: i64, revocation: bool) -> c_int {
        let flags = match revocation {
            true => ffi::X509_V_FLAG_CRL_CHECK | ffi::X509_V_FLAG_CRL_CHECK_ALL,
            false => 0,
        };
        // SAFETY: the context is new and ends before store and certificate; there is no chain.
        unsafe {
            let Some(context) = Owned::take(ffi::X509_STORE_CTX_new()) else {
                return ffi::X509_V_ERR_OUT_OF_MEM;
            };
            let store = self.0.get();
            let (context, certificate) = (context.get(), certificate.0.get());
            if ffi::X509_STORE_CTX_init(context, store, certificate, ptr::null_mut()) != 1 {
                clear_errors();
                return ffi::X509_V_ERR_OUT_OF_MEM;
            }
            ffi::X509_STORE_CTX_set_flags(context, flags.try_into().unwrap_or_default());
            ffi::X509_STORE_CTX_set_time_posix(context, 0, at);
            let verified = checked(ffi::X509_verify_cert(context) == 1);
            match (verified, ffi::X509_STORE_CTX_get_error(context)) {
                (true, _) => ffi::X509_V_OK,
                (false, ffi::X509_V_OK) => ffi::X509_V_ERR_UNSPECIFIED,
                (false, error) => error,
            }
        }
    }
}

/// Reads DER, all of it.
///
/// # Safety
/// `read` is one of the functions `d2i_…`.
unsafe fn parse<T: Free>(
    der: &[u8],
    read: unsafe extern "C" fn(*mut *mut T, *mut *const u8, c_long) -> *mut T,
) -> Option<Owned<T>> {
    let mut rest = der.as_ptr();
    // SAFETY: so many bytes are there to read.
    let object = unsafe {
        let len = c_long::try_from(der.len()).ok()?;
        Owned::take(read(ptr::null_mut(), &raw mut rest, len))?
    };
    // It stops behind the object, whatever follows.
    (rest == der.as_ptr_range().end).then_some(object)
}

/// Copies what a function gives as memory of theirs, and frees that.
///
/// # Safety
/// Unless it gives 0, `write` has set the pointer to so many bytes, from AWS-LC's `malloc`.
unsafe fn bytes(write: impl FnOnce(*mut *mut u8, *mut usize) -> c_int) -> Option<Vec<u8>> {
    let (mut pointer, mut len) = (ptr::null_mut::<u8>(), 0);
    if !checked(write(&raw mut pointer, &raw mut len) == 1) || pointer.is_null() {
        return None;
    }
    // SAFETY: the caller says so. Freeing also wipes.
    unsafe {
        let copy = slice::from_raw_parts(pointer, len).to_vec();
        ffi::OPENSSL_free(pointer.cast::<c_void>());
        Some(copy)
    }
}

/// Seconds since the epoch; `None` for a time that is not there or cannot be read.
///
/// # Safety
/// The pointer is null or a time's.
unsafe fn seconds(time: *const ffi::ASN1_TIME) -> Option<i64> {
    let mut seconds = 0;
    // SAFETY: it is a time, and `seconds` is filled in.
    let read = !time.is_null() && unsafe { ffi::ASN1_TIME_to_posix(time, &raw mut seconds) == 1 };
    checked(read).then_some(seconds)
}

/// Passes on whether something went well. If not, this thread's list of errors, which nobody reads,
/// is emptied.
fn checked(well: bool) -> bool {
    if !well {
        clear_errors();
    }
    well
}

fn clear_errors() {
    // SAFETY: it is always allowed.
    unsafe { ffi::ERR_clear_error() }
}
