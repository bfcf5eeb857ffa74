// A function of FunLess: gets the URL in its input, {"url": "..."}, and answers {"status": 200, "bytes": 5}.
@external("fl_imps", "__get_input_data")
declare function getInput(place: usize): void;
@external("fl_imps", "__insert_response")
declare function respond(place: usize, size: u32): void;
@external("fl_imps", "__insert_error")
declare function fail(place: usize, size: u32): void;
@external("fl_imps", "__http_request")
declare function request(
  response: usize, size: usize, status: usize, method: u32,
  uri: usize, uriSize: u32, headers: usize, headersSize: u32, body: usize, bodySize: u32,
): void;

// The host may write as much as it has.
const answer = memory.data(1 << 20);
const size = memory.data(4, 4);
const status = memory.data(2, 2);

export function __invoke(length: u32): i32 {
  const input = new ArrayBuffer(length);
  getInput(changetype<usize>(input));
  const text = String.UTF8.decode(input);
  const start = text.indexOf('"url"');
  const parts = text.substring(start + 5).split('"');
  if (start < 0 || parts.length < 3) {
    const reason = String.UTF8.encode("the input has no `url`");
    fail(changetype<usize>(reason), reason.byteLength);
    return 1;
  }
  const uri = String.UTF8.encode(parts[1]);
  request(answer, size, status, 0, changetype<usize>(uri), uri.byteLength, 0, 0, 0, 0);
  const found = String.UTF8.encode(`{"status":${load<u16>(status)},"bytes":${load<u32>(size)}}`);
  respond(changetype<usize>(found), found.byteLength);
  return 0;
}
