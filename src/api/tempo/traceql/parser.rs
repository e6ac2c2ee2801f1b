//! Tokens to a query.

use store::query::tempo::Operator;

use super::lexer::{Placed, Token, tokens};
use super::{
    Condition, Expression, Field, Literal, MAX_CONDITIONS, MAX_DEPTH, MAX_QUERY_BYTES, Query, Refused,
    Spansets,
};

/// Longest regular expression, bytes.
const MAX_PATTERN_BYTES: usize = 512;
/// Memory that a compiled regular expression may take.
const PATTERN_MEMORY_BYTES: usize = 1 << 20;

/// Reads a query.
pub(in crate::api::tempo) fn parse(query: &str) -> Result<Query, Refused> {
    if query.len() > MAX_QUERY_BYTES {
        let what = format!("the query is longer than {MAX_QUERY_BYTES} bytes");
        return Err(Refused { at: MAX_QUERY_BYTES, what });
    }
    let mut parser = Parser { tokens: tokens(query)?, next: 0, end: query.len(), conditions: 0, depth: 0 };
    let spansets = parser.spansets()?;
    let select = parser.pipeline()?;
    match parser.peek() {
        None => Ok(Query { spansets, select }),
        Some(_) => Err(parser.unexpected("the end")),
    }
}

/// Reads what can be read of a query that is still being typed, such as `{ resource.service.name = && kind = server }`;
/// `None` where nothing can.
pub(in crate::api::tempo) fn parse_lenient(query: &str) -> Option<Query> {
    if let Ok(query) = parse(query) {
        return Some(query);
    }
    let inner = query.trim().strip_prefix('{')?;
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let whole: Vec<_> = inner
        .split("&&")
        .filter_map(|part| parse(&format!("{{{part}}}")).ok())
        .filter_map(|query| match query.spansets {
            Spansets::One(expression) => Some(expression),
            _ => None,
        })
        .collect();
    let spansets = Spansets::One(Expression::All(whole));
    Some(Query { spansets, select: Vec::new() })
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    conditions: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).map(|(_, token)| token.clone());
        self.next += 1;
        token
    }

    fn takes(&mut self, wanted: &Token) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, mark: char) -> Result<(), Refused> {
        if self.takes(&Token::Mark(mark)) { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    fn refused(&self, what: impl Into<String>) -> Refused {
        let at = self.tokens.get(self.next).map_or(self.end, |(at, _)| *at);
        Refused { at, what: what.into() }
    }

    fn unexpected(&self, wanted: &str) -> Refused {
        match self.peek() {
            None => self.refused(format!("the query ends where {wanted} is expected")),
            Some(Token::Name(name)) => self.refused(format!("`{name}` stands where {wanted} is expected")),
            Some(_) => self.refused(format!("{wanted} is expected")),
        }
    }

    /// One level deeper, within the bound.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<T, Refused> {
        if self.depth == MAX_DEPTH {
            return Err(self.refused(format!("parentheses are nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let found = inner(self);
        self.depth -= 1;
        found
    }

    fn spansets(&mut self) -> Result<Spansets, Refused> {
        self.joined(Self::spanset, Spansets::All, Spansets::Any)
    }

    fn expression(&mut self) -> Result<Expression, Refused> {
        self.joined(Self::term, Expression::All, Expression::Any)
    }

    /// `a && b || c`: `&&` binds closer.
    fn joined<T>(
        &mut self,
        one: fn(&mut Self) -> Result<T, Refused>,
        all: fn(Vec<T>) -> T,
        any: fn(Vec<T>) -> T,
    ) -> Result<T, Refused> {
        let mut alternatives = Vec::new();
        loop {
            let mut together = vec![one(self)?];
            while self.takes(&Token::And) {
                together.push(one(self)?);
            }
            alternatives.push(sole_or(together, all));
            if !self.takes(&Token::Or) {
                return Ok(sole_or(alternatives, any));
            }
        }
    }

    fn spanset(&mut self) -> Result<Spansets, Refused> {
        if self.takes(&Token::Mark('(')) {
            let inner = self.deeper(Self::spansets)?;
            self.expect(')')?;
            return Ok(inner);
        }
        self.expect('{')?;
        if self.takes(&Token::Mark('}')) {
            return Ok(Spansets::One(Expression::All(Vec::new())));
        }
        let expression = self.expression()?;
        self.expect('}')?;
        Ok(Spansets::One(expression))
    }

    /// A comparison, a truth value, or an expression in parentheses.
    fn term(&mut self) -> Result<Expression, Refused> {
        if self.takes(&Token::Mark('(')) {
            let inner = self.deeper(Self::expression)?;
            self.expect(')')?;
            return Ok(inner);
        }
        match self.peek() {
            Some(Token::Name(name)) if name == "true" => {
                self.next += 1;
                return Ok(Expression::All(Vec::new()));
            }
            Some(Token::Name(name)) if name == "false" => {
                self.next += 1;
                return Ok(Expression::Any(Vec::new()));
            }
            _ => {}
        }
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(self.refused(format!("the query has more than {MAX_CONDITIONS} conditions")));
        }
        if matches!(self.peek(), Some(Token::Text(_) | Token::Int(_) | Token::Float(_) | Token::Duration(_)))
        {
            return self.reversed();
        }
        let field = self.field()?;
        let operator = match self.peek() {
            Some(Token::Comparison(operator)) => *operator,
            // An attribute alone is one that must be true.
            Some(Token::And | Token::Or | Token::Mark('}' | ')')) => {
                let value = Literal::Bool(true);
                return Ok(Expression::Is(Condition { field, operator: Operator::Equal, value }));
            }
            _ => return Err(self.unexpected("a comparison")),
        };
        self.next += 1;
        let value = self.value(&field)?;
        self.condition(field, operator, value)
    }

    /// `500 <= span.http.response.status_code`.
    fn reversed(&mut self) -> Result<Expression, Refused> {
        let value = self.value(&Field::Unknown(String::new()))?;
        let operator = match self.take() {
            Some(Token::Comparison(operator)) => match operator {
                Operator::Less => Operator::Greater,
                Operator::LessOrEqual => Operator::GreaterOrEqual,
                Operator::Greater => Operator::Less,
                Operator::GreaterOrEqual => Operator::LessOrEqual,
                same => same,
            },
            _ => {
                self.next -= 1;
                return Err(self.unexpected("a comparison"));
            }
        };
        let field = self.field()?;
        self.condition(field, operator, value)
    }

    fn condition(&self, field: Field, operator: Operator, value: Literal) -> Result<Expression, Refused> {
        let is = |operator, value| Ok(Expression::Is(Condition { field: field.clone(), operator, value }));
        match (operator, value) {
            (Operator::Equal, Literal::Nothing) => is(Operator::Absent, Literal::Nothing),
            (Operator::NotEqual, Literal::Nothing) => is(Operator::Present, Literal::Nothing),
            (_, Literal::Nothing) => Err(self.refused("nil is compared by = and != only")),
            (Operator::Matches | Operator::DoesNotMatch, Literal::Text(text)) => {
                is(operator, self.pattern(text)?)
            }
            (Operator::Matches | Operator::DoesNotMatch, _) => {
                Err(self.refused("a regular expression is a text in quotes"))
            }
            (operator, value) => is(operator, value),
        }
    }

    fn pattern(&self, text: String) -> Result<Literal, Refused> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(
                self.refused(format!("a regular expression is longer than {MAX_PATTERN_BYTES} bytes"))
            );
        }
        let compiled = regex::RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(PATTERN_MEMORY_BYTES)
            .dot_matches_new_line(true)
            .build();
        match compiled {
            Ok(compiled) => Ok(Literal::Pattern(text, compiled)),
            Err(_) => Err(self.refused(format!("`{text}` is no regular expression, or too large a one"))),
        }
    }

    fn field(&mut self) -> Result<Field, Refused> {
        let Some(Token::Name(name)) = self.peek() else { return Err(self.unexpected("a field")) };
        if Field::is_of_empty_scope(name) {
            return Err(self.refused(format!("`{name}`: hop events have nothing in this scope")));
        }
        let what = format!("`{name}` is no field; attributes begin with `.`, `span.` or `resource.`");
        let field = Field::named(name).ok_or_else(|| self.refused(what))?;
        self.next += 1;
        Ok(field)
    }

    fn value(&mut self, field: &Field) -> Result<Literal, Refused> {
        let value = match self.peek() {
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Int(number) | Token::Duration(number)) => Literal::Int(*number),
            Some(Token::Float(number)) => Literal::Float(*number),
            Some(Token::Name(word)) => match word.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "nil" => Literal::Nothing,
                // Words of status and kind stand without quotes.
                word if matches!(field, Field::Intrinsic(_)) && !word.contains(['.', ':']) => {
                    Literal::Text(word.to_owned())
                }
                _ => return Err(self.unexpected("a value")),
            },
            _ => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        Ok(value)
    }

    /// `| select(a, b)` and `with (hint = value)`; hints are how a query is run, and change no answer.
    fn pipeline(&mut self) -> Result<Vec<Field>, Refused> {
        let mut select = Vec::new();
        while self.takes(&Token::Pipe) {
            if !self.takes(&Token::Name("select".to_owned())) {
                return Err(self.unexpected("`select`"));
            }
            self.expect('(')?;
            loop {
                select.push(self.field()?);
                if !self.takes(&Token::Mark(',')) {
                    break;
                }
            }
            self.expect(')')?;
        }
        if select.len() > MAX_CONDITIONS {
            return Err(self.refused(format!("more than {MAX_CONDITIONS} fields are selected")));
        }
        if self.takes(&Token::Name("with".to_owned())) {
            self.expect('(')?;
            while self.peek().is_some_and(|token| *token != Token::Mark(')')) {
                self.next += 1;
            }
            self.expect(')')?;
        }
        Ok(select)
    }
}

/// The only one, or all of them joined.
fn sole_or<T>(mut items: Vec<T>, join: fn(Vec<T>) -> T) -> T {
    match (items.len(), items.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            items.push(last);
            join(items)
        }
        (_, None) => join(items),
    }
}
