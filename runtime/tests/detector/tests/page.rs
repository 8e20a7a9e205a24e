//! The web page in headless Chromium. Needs `chromium` and `chromedriver`.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::browser::{Browser, RIGHT};
use support::service::Service;
use support::{Folder, RED};

/// What the table says: a line per object.
const ROWS: &str = "[...document.querySelectorAll('#rows tr')].map(row => row.innerText.replace(/\\s+/g, ' ').trim())";

const ALERT: &str = "document.querySelector('[role=alert]:not([hidden]) strong')?.textContent";

/// A film of a grey wall with something red on it.
fn film(folder: &Folder) -> PathBuf {
    let (width, height) = (320, 240);
    let inside = |x: usize, y: usize| (80..160).contains(&x) && (60..180).contains(&y);
    let plane = |step: usize, wall: u8, red: u8| -> Vec<u8> {
        let rows = (0..height).step_by(step);
        rows.flat_map(|y| (0..width).step_by(step).map(move |x| if inside(x, y) { red } else { wall })).collect()
    };
    let mut bytes = format!("YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n").into_bytes();
    for _ in 0..5 {
        bytes.extend(b"FRAME\n");
        [plane(1, 93, 81), plane(2, 128, 90), plane(2, 128, 240)].iter().for_each(|plane| bytes.extend(plane));
    }
    let path = folder.join("film.y4m");
    fs::write(&path, bytes).unwrap();
    path
}

/// The page of a service, ready.
fn page(service: &Service, folder: &Folder) -> Option<Browser> {
    let browser = Browser::start([1300, 900], &film(folder))?;
    browser.open(&service.url("/"));
    Some(browser)
}

fn ready(browser: &Browser) {
    browser.expect("document.getElementById('state-text').textContent", "Ready");
}

fn keep(browser: &Browser, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&folder).unwrap();
    browser.screenshot(&folder.join(name));
}

#[test]
fn a_picture_becomes_boxes_and_sliders_change_them() {
    let (folder, service) = (Folder::new(), Service::start(&[]));
    let Some(browser) = page(&service, &folder) else { return };
    ready(&browser);
    browser.expect("document.getElementById('title').textContent", "stand-in");
    browser.send("#file", folder.street("street.png").to_str().unwrap());
    let (person, bus, tie) = ("person 0.900 10, 20 30 × 80", "bus 0.800 50, 30 60 × 60", "tie 0.700 20, 40 10 × 20");
    browser.expect(ROWS, vec![person, bus, tie]);
    browser.expect("document.getElementById('summary').innerText", "1 person, 1 bus, 1 tie in 128 × 128 pixels");
    browser.expect("document.getElementById('live').textContent", "1 person, 1 bus, 1 tie");
    browser.expect("document.querySelectorAll('#legend dt').length", 6);
    // The left edge of the bus, in the colour of its class, as far as it meets whole pixels.
    let edge = "(() => { const c = document.getElementById('boxes'); const s = c.width / 128; \
         const [r, g, b, a] = c.getContext('2d').getImageData(Math.round(50 * s), Math.round(80 * s), 1, 1).data; \
         return r < 20 && Math.abs(g - 168) < 20 && Math.abs(b - 168) < 20 && a > 200; })()";
    browser.expect(edge, true);
    keep(&browser, "boxes.png");

    // Confidence is a matter of the browser alone; 0.25 to 0.75 are 50 steps.
    let asked = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('predict')).length";
    browser.run("document.getElementById('conf').focus()");
    browser.press(RIGHT, 50);
    browser.expect("document.getElementById('conf-value').textContent", "0.75");
    browser.expect(ROWS, vec![person, bus]);
    browser.expect(asked, 1);
    browser.click("#reset");
    browser.expect(ROWS, vec![person, bus, tie]);

    // Overlap is not: the copy of the person comes back once boxes may overlap by nine tenths.
    browser.run("document.getElementById('iou').focus()");
    browser.press(RIGHT, 45);
    browser.expect(ROWS, vec![person, bus, tie, "person 0.600 10, 20 30 × 90"]);
    browser.click("#chips button");
    browser.expect(ROWS, vec![bus, tie]);
    browser.expect("document.querySelector('#chips button').getAttribute('aria-pressed')", "false");
    browser.expect(edge, true);
    browser.expect("document.getElementById('summary').innerText", "1 bus, 1 tie in 128 × 128 pixels, 2 hidden");

    let origins = "new Set(performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)).size";
    browser.expect(origins, 1);
}

#[test]
fn errors_say_what_to_do() {
    let (folder, service) = (Folder::new(), Service::start(&[]));
    let Some(browser) = page(&service, &folder) else { return };
    ready(&browser);
    fs::write(folder.join("notes.jpg"), "not a picture").unwrap();
    browser.send("#file", folder.join("notes.jpg").to_str().unwrap());
    browser.expect(ALERT, "The server cannot read this picture.");
    browser.expect("document.getElementById('alert-text').textContent.startsWith('Choose a JPEG')", true);
    keep(&browser, "error.png");
    browser.click("#alert-close");
    browser.expect("document.getElementById('alert').hidden", true);

    let wall = folder.picture("wall.png", [64, 64], &[]);
    browser.send("#file", wall.to_str().unwrap());
    browser.expect("document.getElementById('summary').innerText", "No objects in 64 × 64 pixels");
    drop(service);
    browser.send("#file", wall.to_str().unwrap());
    browser.expect(ALERT, "The server does not answer.");
    browser.expect("document.getElementById('alert-action').textContent", "Try again");
}

#[test]
fn a_picture_above_the_limit_is_sent_smaller() {
    let (folder, service) = (Folder::new(), Service::start(&["--max-pixels", "4000000"]));
    let Some(browser) = page(&service, &folder) else { return };
    ready(&browser);
    let large = folder.picture("large.png", [2400, 2400], &[(RED, [600, 600, 1200, 1800])]);
    browser.send("#file", large.to_str().unwrap());
    browser.expect(ALERT, "The picture is too large for this server.");
    browser.click("#alert-action");
    browser.expect("document.getElementById('summary').innerText", "1 person in 1920 × 1920 pixels, a smaller copy");
}

#[test]
fn pictures_are_turned_as_the_server_turns_them() {
    let (folder, service) = (Folder::new(), Service::start(&[]));
    let Some(browser) = page(&service, &folder) else { return };
    ready(&browser);
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder").join("pictures");
    for name in ["orientation_1.jpg", "orientation_6.jpg", "orientation_6.png", "orientation_6.webp"] {
        browser.send("#file", pictures.join(name).to_str().unwrap());
        browser.expect("document.getElementById('curl').textContent.includes(' @orientation_')", true);
        browser.expect("document.getElementById('summary').innerText.endsWith(' in 26 × 18 pixels')", true);
        browser.run("document.getElementById('summary').textContent = ''");
    }
}

#[test]
fn the_camera_is_looked_through_until_it_is_stopped() {
    let (folder, service) = (Folder::new(), Service::start(&[]));
    let Some(browser) = page(&service, &folder) else { return };
    ready(&browser);
    browser.click("#camera");
    browser.expect("document.getElementById('summary').innerText.startsWith('1 person in ')", true);
    browser.expect("document.getElementById('total').textContent.includes('fps')", true);
    browser.expect("document.getElementById('camera').getAttribute('aria-pressed')", "true");
    let asked = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('predict')).length";
    browser.expect(&format!("{asked} > 5"), true);
    keep(&browser, "camera.png");
    browser.click("#camera");
    browser.expect("document.getElementById('camera').getAttribute('aria-pressed')", "false");
    let before = browser.run(&format!("return {asked}")).as_u64().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let after = browser.run(&format!("return {asked}")).as_u64().unwrap();
    assert!(after <= before + 1, "{before} requests, then {after}");
}

#[test]
fn a_key_is_asked_for() {
    let (folder, service) = (Folder::new(), Service::start_with_key("secret", &[]));
    let Some(browser) = page(&service, &folder) else { return };
    browser.expect(ALERT, "This server asks for a key.");
    browser.send("#key", "wrong\u{e007}");
    browser.expect("document.getElementById('key').value", "");
    browser.expect(ALERT, "This server asks for a key.");
    browser.send("#key", "secret\u{e007}");
    ready(&browser);
    browser.expect("document.getElementById('alert').hidden", true);
    browser.send("#file", folder.street("street.png").to_str().unwrap());
    browser.expect(&format!("{ROWS}.length"), 3);
}
