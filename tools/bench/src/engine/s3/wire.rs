//! This module sends and receives the bytes of a connection, with or without TLS.
//!
//! Invariant: buffers that are lent come back in every case; without TLS nothing is copied or
//! allocated.

use super::failure::Failure;
use super::tls::TlsStream;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use std::ops::Range;

/// This is a connection with or without TLS.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Wire {
    /// Receives into a part of `buffer`, which must not be empty; returns 0 when the other side has
    /// closed.
    ///
    /// # Errors
    /// Fails when the connection is broken.
    pub async fn read(&mut self, buffer: &mut Box<[u8]>, part: Range<usize>) -> Result<usize, Failure> {
        match self {
            Self::Plain(stream) => {
                let (received, slice) = stream.read(std::mem::take(buffer).slice_mut(part)).await;
                *buffer = slice.into_inner();
                Ok(received?)
            }
            Self::Tls(stream) => stream.read(&mut buffer[part]).await,
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Fails when the connection is broken.
    pub async fn write(&mut self, bytes: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Plain(stream) => {
                let (sent, lent) = stream.write_all(std::mem::take(bytes)).await;
                *bytes = lent;
                sent?;
                Ok(())
            }
            Self::Tls(stream) => stream.write_all(bytes).await,
        }
    }

    /// Sends a part of `buffer`.
    ///
    /// # Errors
    /// Fails when the connection is broken.
    pub async fn write_part(&mut self, buffer: &mut Box<[u8]>, part: Range<usize>) -> Result<(), Failure> {
        match self {
            Self::Plain(stream) => {
                let (sent, slice) = stream.write_all(std::mem::take(buffer).slice(part)).await;
                *buffer = slice.into_inner();
                sent?;
                Ok(())
            }
            Self::Tls(stream) => stream.write_all(&buffer[part]).await,
        }
    }
}
