// A function of Capsule: greets who is named, as a text call or as an HTTP request. "fetch URL" gets a URL.
package main

import (
	"errors"
	"strings"

	hf "github.com/bots-garden/capsule/capsulemodule/hostfunctions"
)

func main() {
	hf.SetHandle(greet)
	hf.SetHandleHttp(serve)
}

func greet(params []string) (string, error) {
	name := strings.TrimSpace(params[0])
	if url, found := strings.CutPrefix(name, "fetch "); found {
		return hf.Http(url, "GET", map[string]string{"Accept": "*/*"}, "")
	}
	if name == "" {
		return "", errors.New("nobody to greet")
	}
	hf.Log("greeting " + name)
	return "Hello " + name + "!", nil
}

func serve(request hf.Request) (hf.Response, error) {
	text, err := greet([]string{request.Body})
	return hf.Response{Body: text, Headers: map[string]string{"Content-Type": "text/plain; charset=utf-8"}}, err
}
