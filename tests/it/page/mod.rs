//! The page: read in a real browser, with hostile log content, by keyboard, without JavaScript; and its doors.

mod browser;
mod doors;
mod hostile;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use event::Hop;
use testkit::{Mix, Story};

use crate::app::{Options, Service};
use crate::tempo::lines_by_side;
use browser::Browser;

/// Requests of the mix.
const REQUESTS: u64 = 40;
const DESKTOP: (u32, u32) = (1280, 860);
const PHONE: (u32, u32) = (390, 844);

/// Sends sample traffic of the last minute, and `more` lines of edge and gateway.
fn traffic(service: &Service, more: Option<(String, String)>) -> Ids {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let mix = Mix::new(21).starting(now - 60_000, 1_000_000);
    let mut requests: Vec<_> = (0..REQUESTS)
        .map(|n| match n {
            0 => mix.request_as(n, Story::Timeout),
            1 => mix.request_as(n, Story::Denied),
            n => mix.request(n),
        })
        .collect();
    // One whose gateway's clock is seven seconds ahead and one of whose hops is missing, on a trace with another one.
    let (mut troubled, mut other) =
        (mix.request_as(REQUESTS, Story::Plain), mix.request_as(REQUESTS + 1, Story::Refused));
    let lost = troubled.hops.iter().position(|hop| hop.hop == Hop::Sidecar).unwrap();
    troubled.hops.remove(lost);
    troubled
        .hops
        .iter_mut()
        .filter(|hop| hop.hop == Hop::Gateway)
        .for_each(|hop| hop.skew_ns = 7_000_000_000);
    other.trace_id = troubled.trace_id;
    requests.extend([troubled, other]);
    let (mut edge, mut mesh) = lines_by_side(&requests);
    if let Some((of_edge, of_gateway)) = more {
        edge.push(of_edge);
        mesh.push(of_gateway);
    }
    let records = edge.len() + mesh.len();
    service.accept("/v1/fastly", edge.join("\n"));
    service.accept("/v1/envoy", mesh.join("\n"));
    service.wait_stored(records as u64);
    let id = |nth: usize| requests[nth].correlation_text();
    let trace = requests.last().map(|request| format!("{:032x}", request.trace_id)).unwrap();
    Ids { slow: id(0), denied: id(1), trace }
}

/// Ids of what is looked at.
struct Ids {
    /// A request that timed out.
    slow: String,
    /// One that was denied.
    denied: String,
    /// The trace id of two requests; of the first a hop is missing, and one clock is far off.
    trace: String,
}

/// Where pictures go: to be looked at.
fn pictures() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn text(browser: &mut Browser, selector: &str) -> String {
    let selector = serde_json::to_string(selector).unwrap();
    browser.eval(&format!("document.querySelector({selector})?.innerText ?? ''")).as_str().unwrap().to_owned()
}

#[test]
fn a_browser_shows_what_logs_hold_and_nothing_of_it_does_anything() {
    let service = Service::start();
    let Ids { slow, denied, trace } = traffic(&service, Some(hostile::lines()));
    let url = service.url();
    let mut browser = Browser::start();
    let pages = [
        ("home", "/".to_owned()),
        ("request", format!("/r/{slow}")),
        ("denied", format!("/r/{denied}")),
        ("trace", format!("/r/{trace}")),
        ("hostile", format!("/r/{}", hostile::ID)),
        ("not-found", "/r/%3Cscript%3Edocument.title='owned'%3C%2Fscript%3E".to_owned()),
    ];
    for (width, height) in [DESKTOP, PHONE] {
        for scheme in ["light", "dark"] {
            browser.screen(width, height, scheme);
            for (name, path) in &pages {
                browser.open(&format!("{url}{path}"));
                // Everything that can be opened is open: hidden content does harm, too.
                browser.eval("document.querySelectorAll('details').forEach((it) => { it.open = true })");
                browser
                    .eval("document.querySelectorAll('tr.record').forEach((it) => it.classList.add('open'))");
                let title = browser.eval("document.title");
                let title = title.as_str().unwrap();
                assert!(title.ends_with("Throughline") && title != "owned", "{name}: {title}");
                let beyond =
                    browser.eval("document.documentElement.scrollWidth - innerWidth").as_i64().unwrap();
                assert!(beyond <= 0, "{name} at {width}: {beyond} pixels beyond the screen");
                let strange = browser.eval(
                    "[...document.querySelectorAll('*')].filter((it) => [...it.attributes].some((a) => \
                     a.name.startsWith('on') || a.name === 'style' || /^\\s*javascript:/i.test(a.value) && a.name !== 'value'))\
                     .length + document.querySelectorAll('iframe, object, embed, base, img, main script, main style, main link').length",
                );
                assert_eq!(strange, 0, "{name}: markup that is not ours");
                let links = browser.eval("[...document.querySelectorAll('a[href]')].map((it) => it.href)");
                for link in links.as_array().unwrap() {
                    let link = link.as_str().unwrap();
                    assert!(link.starts_with(&format!("{url}/")), "{name}: a link to {link}");
                }
                browser.open(&format!("{url}{path}"));
                browser.shoot(&pictures().join(format!("{name}-{width}-{scheme}.png")), 2_400);
            }
        }
    }
    // What is written is there to be read, with what cannot be seen made visible.
    browser.screen(DESKTOP.0, DESKTOP.1, "light");
    browser.open(&format!("{url}/r/{}", hostile::ID));
    let shown = browser.eval("document.querySelector('main').textContent").as_str().unwrap().to_owned();
    for part in
        [hostile::ATTACKS[0], hostile::ATTACKS[3], "\\u{202e}gnp.exe", "\\x1b[2J", "\\x00", "<b>long</b>"]
    {
        assert!(shown.contains(part), "{part:?} is not shown");
    }
    let hidden = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!shown.contains(hidden), "{:?}", shown.chars().find(|c| hidden(*c)));
    assert_eq!(browser.misdeeds(&url), Vec::<String>::new());
}

#[test]
fn the_page_is_used_by_keyboard_and_read_without_scripts() {
    let service = Service::start();
    let Ids { slow, .. } = traffic(&service, None);
    let url = service.url();
    let mut browser = Browser::start();
    // As low as its content: these two are the pictures of the documentation.
    browser.screen(DESKTOP.0, 400, "light");

    // From the first page to a request and its record, without a pointer.
    browser.open(&format!("{url}/"));
    browser.shoot(&pictures().join("docs-home.png"), 900);
    browser.screen(DESKTOP.0, DESKTOP.1, "light");
    assert_eq!(browser.eval("document.activeElement.id"), "q", "one can begin to type");
    browser.key("Escape");
    assert_eq!(browser.eval("document.activeElement === document.body"), true);
    browser.key("j");
    let first = browser.eval("document.activeElement.getAttribute('href')").as_str().unwrap().to_owned();
    assert!(first.starts_with("/r/"), "{first}");
    browser.key("j");
    browser.key("k");
    assert_eq!(browser.eval("document.activeElement.getAttribute('href')"), first.as_str());
    let before = browser.told_so_far();
    browser.key("Enter");
    browser.wait_loaded(before);
    assert_eq!(browser.eval("location.pathname"), first.as_str());

    browser.open(&format!("{url}/r/{slow}"));
    browser.shoot(&pictures().join("docs-request.png"), 1_200);
    let open = "[...document.querySelectorAll('tr.record')].filter((it) => it.offsetParent !== null).length";
    browser.key("j");
    browser.key("ArrowDown");
    assert_eq!(browser.eval("[...document.querySelectorAll('a.row')].indexOf(document.activeElement)"), 1);
    assert_eq!(browser.eval(open), 0);
    browser.key("Enter");
    assert_eq!(browser.eval(open), 1);
    assert_eq!(browser.eval("document.activeElement.getAttribute('aria-expanded')"), "true");
    let permalink = browser.eval("location.href").as_str().unwrap().to_owned();
    assert!(permalink.contains("#hop-1-"), "{permalink}");
    browser.key("Escape");
    assert_eq!(browser.eval(open), 0);
    browser.key("/");
    assert_eq!(browser.eval("document.activeElement.id"), "q");
    assert_eq!(browser.eval("document.activeElement.value"), slow.as_str(), "the key itself is not typed");
    browser.key("j");
    assert_eq!(browser.eval("document.activeElement.value"), "j", "letters are letters in the box");

    // The address of a row opens that row, with a script and without.
    browser.open("about:blank");
    browser.open(&permalink);
    assert_eq!(browser.eval(open), 1);
    let main = text(&mut browser, "main");
    let whole = browser.eval("document.querySelector('main').textContent");
    browser.scripts(false);
    browser.open("about:blank");
    browser.open(&permalink);
    assert_eq!(browser.eval("document.documentElement.classList.contains('js')"), false, "no script ran");
    assert_eq!(browser.eval(open), 1);
    assert_eq!(text(&mut browser, "main"), main, "it reads the same without a script");
    assert_eq!(browser.eval("document.querySelector('main').textContent"), whole);
    for part in ["certain", "Where the time went", "correlation id", "started"] {
        assert!(main.contains(part), "{part}: {main}");
    }
    browser.shoot(&pictures().join("record-1280-light.png"), 1_800);
    assert_eq!(browser.misdeeds(&url), Vec::<String>::new());
}

#[test]
fn a_browser_signs_in_and_out() {
    let token = "reader-token-with-search-only";
    let config =
        format!("[[reader]]\nname = 'front'\ntenant = 'default'\ntoken = '{token}'\nroles = ['search']\n");
    let service = Service::with(Options { config, ..Options::default() });
    let url = service.url();
    let mut browser = Browser::start();
    for (width, height) in [PHONE, DESKTOP] {
        browser.screen(width, height, "dark");
        browser.open(&format!("{url}/?q="));
        browser.shoot(&pictures().join(format!("sign-in-{width}-dark.png")), 1_000);
    }
    assert_eq!(browser.eval("document.activeElement.id"), "token");
    let send = |browser: &mut Browser, text: &str| {
        let text = serde_json::to_string(text).unwrap();
        browser.eval(&format!("document.getElementById('token').value = {text}"));
        let before = browser.told_so_far();
        browser.key("Enter");
        browser.wait_loaded(before);
    };
    send(&mut browser, "a-token-that-is-nobodys");
    assert!(text(&mut browser, ".alert").contains("not the token"));
    send(&mut browser, token);
    assert_eq!(browser.eval("location.pathname"), "/");
    assert!(text(&mut browser, "header").contains("front"), "{}", text(&mut browser, "body"));
    assert_eq!(browser.eval("document.cookie"), "", "a script sees no session");
    let before = browser.told_so_far();
    browser.eval("document.querySelector('form.out button').click()");
    browser.wait_loaded(before);
    assert_eq!(browser.eval("document.querySelector('#token') !== null"), true);
    assert_eq!(browser.misdeeds(&url), Vec::<String>::new());
}

#[test]
fn the_sentence_and_the_hops_are_those_of_the_api() {
    let service = Service::start();
    let Ids { slow, denied, trace } = traffic(&service, None);
    for id in [&slow, &denied, &trace] {
        let answer = service.json(&format!("/api/v1/traces/{id}"));
        assert_eq!(service.json(&format!("/r/{id}/json")), answer);
        let (status, page) = service.get(&format!("/r/{id}"));
        assert_eq!(status, 200, "{page}");
        let escaped = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;");
        assert!(page.contains(&escaped(answer["summary"].as_str().unwrap())), "{page}");
        for span in answer["spans"].as_array().unwrap() {
            for member in ["event_key", "place"] {
                let text = span[member].as_str().unwrap();
                let shown = text.chars().take(28).collect::<String>();
                assert!(page.contains(&shown), "{member} {text} is missing");
            }
        }
        for gap in answer["gaps"].as_array().unwrap() {
            assert!(page.contains(gap["expected"].as_str().unwrap()), "{gap}");
        }
        let attributes = answer["spans"][0]["event"]["attributes"].as_object();
        for name in attributes.into_iter().flat_map(|it| it.keys()) {
            assert!(page.contains(name.as_str()), "{name} is missing");
        }
    }
    // Two requests of one trace, one after the other; where a hop is missing, and where it began by an agreed clock.
    let (_, page) = service.get(&format!("/r/{trace}"));
    for part in
        ["id=\"request-1\"", "id=\"request-2\"", "2 requests", "1 hop missing", ">missing<", "≈ ", " off"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(
        page.matches("class=\"estimate\"").count(),
        1,
        "what nothing is known of is not corrected: {page}"
    );
    let (_, home) = service.get("/");
    for part in [&slow, &denied] {
        assert!(home.contains(&format!("href=\"/r/{part}\"")), "{part} is not on the first page: {home}");
    }
    // An id that is on no record says what was looked for, and how to go on.
    let (status, page) = service.get("/r/0192f0c4-0000-7cc3-98c4-dc0c0c07ffff");
    assert_eq!(status, 404);
    for part in ["No record carries this id", "Records are kept from", "throughline doctor", "tenant"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
