//! A function of FunLess: gets the URL in its input, {"url": "..."}, and answers {"status": 200, "bytes": 5}.
//! {"say": "..."} is answered in capital letters. It reads no more of JSON than that.
#[link(wasm_import_module = "fl_imps")]
extern "C" {
    fn __get_input_data(place: *mut u8);
    fn __insert_response(place: *const u8, size: usize);
    fn __insert_error(place: *const u8, size: usize);
    fn __console_log(place: *const u8, size: usize);
    fn __http_request(
        response: *mut u8, size: *mut u32, status: *mut u16, method: u32,
        uri: *const u8, uri_size: usize, headers: *const u8, headers_size: usize, body: *const u8, body_size: usize,
    );
}

const MOST_BYTES: usize = 1 << 20;

#[no_mangle]
pub extern "C" fn __invoke(size: usize) -> i32 {
    let mut input = vec![0; size];
    unsafe { __get_input_data(input.as_mut_ptr()) };
    match answer(&String::from_utf8_lossy(&input)) {
        Ok(text) => {
            unsafe { __insert_response(text.as_ptr(), text.len()) };
            0
        }
        Err(text) => {
            unsafe { __insert_error(text.as_ptr(), text.len()) };
            1
        }
    }
}

fn answer(input: &str) -> Result<String, String> {
    if let Some(words) = find(input, "say") {
        return Ok(format!("\"{}\"", words.to_uppercase()));
    }
    let url = find(input, "url").ok_or("the input has neither `url` nor `say`")?;
    log(&format!("getting {}", url));
    let mut body = vec![0; MOST_BYTES];
    let (mut size, mut status) = (0, 0);
    unsafe {
        __http_request(
            body.as_mut_ptr(), &mut size, &mut status, 0, url.as_ptr(), url.len(), "".as_ptr(), 0, "".as_ptr(), 0,
        )
    };
    Ok(format!("{{\"status\":{},\"bytes\":{}}}", status, size))
}

/// Returns the text that follows a key.
fn find<'a>(input: &'a str, key: &str) -> Option<&'a str> {
    let rest = &input[input.find(&format!("\"{}\"", key))? + key.len() + 2..];
    rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split('"').next()
}

fn log(text: &str) {
    unsafe { __console_log(text.as_ptr(), text.len()) }
}
