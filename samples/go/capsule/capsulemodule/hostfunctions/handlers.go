// Package hostfunctions lets Go sources that were written for Capsule compile, unchanged, with the stock compiler.
//
// It has the names of Capsule's package of this path, and the interface of its second generation (0.1.9 to 0.2.8).
// Build with: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared
package hostfunctions

import (
	"errors"
	"strings"
	"sync"
	"unsafe"
)

// separator stands between parameters, and between headers.
const separator = "²"

// Request is what a handler of HTTP requests takes since 0.2.9.
type Request struct {
	Body    string
	Headers map[string]string
	Uri     string
	Method  string
}

// ParseQueryString returns the parameters after the question mark of the URI, as they stand there.
func (request *Request) ParseQueryString() map[string]string {
	found := map[string]string{}
	_, query, _ := strings.Cut(request.Uri, "?")
	for _, pair := range strings.Split(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); name != "" {
			found[name] = value
		}
	}
	return found
}

// Response is what such a handler gives.
type Response struct {
	Body    string
	Headers map[string]string
}

// TextHandler takes the parameters of a call and gives its answer.
type TextHandler = func(params []string) (string, error)

// HTTPHandler is a handler of HTTP requests, in either of the forms that Capsule had.
type HTTPHandler interface {
	func(string, map[string]string) (string, map[string]string, error) | func(Request) (Response, error)
}

var (
	handleText TextHandler
	handleHTTP func(Request) (Response, error)
	runMain    = sync.OnceFunc(mainMain)
)

// mainMain is the program's main, which sets the handlers: a library's is not run by itself.
//
//go:linkname mainMain main.main
func mainMain()

// SetHandle sets what answers text calls.
func SetHandle(handler TextHandler) { handleText = handler }

// SetHandleHttp sets what answers HTTP requests.
func SetHandleHttp[Handler HTTPHandler](handler Handler) {
	switch handle := any(handler).(type) {
	case func(Request) (Response, error):
		handleHTTP = handle
	case func(string, map[string]string) (string, map[string]string, error):
		handleHTTP = func(request Request) (Response, error) {
			body, headers, err := handle(request.Body, request.Headers)
			return Response{body, headers}, err
		}
	}
}

// OnNatsMessage sets what takes messages: here a message is a text call.
func OnNatsMessage(handler func(params []string)) { SetHandle(silent(handler)) }

// OnMqttMessage sets what takes messages: here a message is a text call.
func OnMqttMessage(handler func(params []string)) { SetHandle(silent(handler)) }

func silent(handler func(params []string)) TextHandler {
	return func(params []string) (string, error) {
		handler(params)
		return "", nil
	}
}

//go:wasmexport callHandle
func callHandle(pointer unsafe.Pointer, size uint32) uint64 {
	runMain()
	if handleText == nil {
		return giveError(errors.New("the function does not call SetHandle: it has no handler of texts"))
	}
	answer, err := handleText(strings.Split(take(pointer, size), separator))
	if err != nil {
		return giveError(err)
	}
	return give(answer)
}

//go:wasmexport callHandleHttp
func callHandleHttp(
	body unsafe.Pointer, bodySize uint32, uri unsafe.Pointer, uriSize uint32,
	headers unsafe.Pointer, headersSize uint32, method unsafe.Pointer, methodSize uint32,
) uint64 {
	runMain()
	request := Request{take(body, bodySize), splitHeaders(take(headers, headersSize)), take(uri, uriSize), take(method, methodSize)}
	if handleHTTP == nil {
		return giveError(errors.New("the function does not call SetHandleHttp: it has no handler of HTTP requests"))
	}
	response, err := handleHTTP(request)
	if err != nil {
		return give(errorMark + err.Error() + "[HEADERS]" + joinHeaders(response.Headers))
	}
	return give("[BODY]" + response.Body + "[HEADERS]" + joinHeaders(response.Headers))
}

func splitHeaders(text string) map[string]string {
	headers := map[string]string{}
	for _, item := range strings.Split(text, separator) {
		if name, value, found := strings.Cut(item, ":"); found {
			headers[canonical(name)] = value
		}
	}
	return headers
}

func joinHeaders(headers map[string]string) string {
	items := make([]string, 0, len(headers))
	for name, value := range headers {
		items = append(items, name+":"+value)
	}
	return strings.Join(items, separator)
}

// canonical puts a header's name as handlers ask for it: Content-Type. They find it however the client wrote it.
func canonical(name string) string {
	parts := strings.Split(strings.ToLower(name), "-")
	for place, part := range parts {
		if part != "" {
			parts[place] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, "-")
}
