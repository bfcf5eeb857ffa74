// Answers a request with its method and path, or with what the URL in ?url= gives.
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url);
  const wanted = searchParams.get("url");
  if (wanted) {
    const found = await fetch(wanted);
    return new Response(await found.text(), { status: found.status });
  }
  return new Response(`${request.method} ${pathname}\n`, { headers: { "content-type": "text/plain" } });
}
