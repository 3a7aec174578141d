//! This module reads responses of an S3 server: HTTP/1.1 with a length, and XML that is searched
//! rather than parsed.

/// Says that a response could not be understood.
#[derive(Debug, thiserror::Error)]
#[error("an answer this client does not understand: {0:?}")]
pub struct Malformed(pub String);

/// This is a complete response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Holds status line and headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Takes the response out of `received`, if it is complete. Interim responses (1xx) are
    /// skipped.
    ///
    /// # Errors
    /// Fails when the response is not HTTP, or has no length.
    pub fn parse(received: &mut Vec<u8>) -> Result<Option<Self>, Malformed> {
        loop {
            let Some(head_end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Ok(None);
            };
            let head = std::str::from_utf8(&received[..head_end])
                .map_err(|_| Malformed("a head that is not text".into()))?;
            let malformed = || Malformed(head.to_string());
            let status: u16 = head.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
            if (100..200).contains(&status) {
                received.drain(..head_end + 4);
                continue;
            }
            let length = match header(head, "content-length") {
                Some(value) => value.parse::<usize>().map_err(|_| malformed())?,
                None if status == 204 || status == 304 => 0,
                None => return Err(malformed()),
            };
            let body_start = head_end + 4;
            if received.len() < body_start + length {
                return Ok(None);
            }
            let head = head.to_owned();
            let body = received.split_off(body_start);
            received.clear();
            return Ok(Some(Self { status, head, body }));
        }
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Returns the body as text, for messages and for [`elements`].
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Returns the texts of all elements `name` in `xml`, in order. Escapes are not decoded.
pub fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once(&open)?;
        let (text, after) = from.split_once(&close)?;
        rest = after;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_when_their_length_is_there() {
        let text =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: x\r\n\r\nhello";
        for cut in 0..text.len() {
            assert!(Answer::parse(&mut text[..cut].to_vec()).unwrap().is_none(), "{cut}");
        }
        let answer = Answer::parse(&mut text.to_vec()).unwrap().unwrap();
        assert_eq!((answer.status, answer.header("etag"), &answer.body[..]), (200, Some("x"), &b"hello"[..]));
    }

    #[test]
    fn an_answer_without_length_is_refused() {
        let outcome = Answer::parse(&mut b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec());
        assert!(outcome.is_err(), "{outcome:?}");
    }

    #[test]
    fn elements_come_in_order() {
        let xml = "<L><C><Key>a</Key><Size>1</Size></C><C><Key>b</Key><Size>2</Size></C></L>";
        assert_eq!(elements(xml, "Key").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(elements(xml, "Size").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(elements(xml, "ETag").next(), None);
    }
}
