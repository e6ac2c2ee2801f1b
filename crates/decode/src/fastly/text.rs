//! Common and combined log lines: `%h %l %u %t "%r" %>s %b ["%{Referer}i" "%{User-Agent}i"]`.

use event::Notes;

use super::map::Draft;
use super::target::{self, Target};

/// Fills a draft from a line; false if the line is none of the kind.
///
/// Request, referer and user agent stand between quotes and may hold quotes of the client's making. The request ends
/// at the first quote that a status follows; where quotes are left over, the split is noted as ambiguous.
pub(crate) fn clf<'e>(line: &'e str, draft: &mut Draft<'_, 'e>) -> bool {
    split(line, draft).is_some() && draft.known > 0
}

fn split<'e>(line: &'e str, draft: &mut Draft<'_, 'e>) -> Option<()> {
    let (client, rest) = line.split_once(' ')?;
    let (users, rest) = rest.split_once('[')?;
    let (_, user) = users.trim_end().split_once(' ')?;
    let (time, rest) = rest.split_once("] \"")?;
    let (request, rest) = request_end(rest)?;
    let (status, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (size, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let instant = crate::time::parse_text(time)?;
    draft.started(instant);
    let field = |word| target::find(word, None).ok();
    for (word, text) in
        [("client_address", client), ("request_line", request), ("status", status), ("response_bytes", size)]
    {
        draft.put(field(word)?, word, text.into());
    }
    draft.put(Target::Subject, "user", user.into());
    let quotes = rest.bytes().filter(|&byte| byte == b'"').count();
    if quotes > 4 || request.contains('"') {
        draft.note(Notes::AMBIGUOUS_FIELDS);
    }
    let Some((referer, rest)) = rest.strip_prefix('"').and_then(|rest| rest.split_once("\" \"")) else {
        draft.attribute("rest", rest.into());
        return Some(());
    };
    draft.put(field("referer")?, "referer", referer.into());
    let (agent, rest) = rest.rsplit_once('"').unwrap_or((rest, ""));
    draft.put(field("user_agent")?, "user_agent", agent.into());
    draft.attribute("rest", rest.trim().into());
    Some(())
}

/// Splits at the first `" ` that three digits and a blank (or the end) follow.
fn request_end(text: &str) -> Option<(&str, &str)> {
    text.match_indices("\" ").find_map(|(at, quote)| {
        let rest = &text[at + quote.len()..];
        let bytes = rest.as_bytes();
        let status = bytes.len() >= 3 && bytes[..3].iter().all(u8::is_ascii_digit);
        (status && matches!(bytes.get(3), None | Some(b' '))).then(|| (&text[..at], rest))
    })
}
