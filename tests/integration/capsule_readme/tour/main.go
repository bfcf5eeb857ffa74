// Calls each function of the host, in the form of handlers that Capsule had since 0.2.9.
package main

import (
	"strings"

	hf "github.com/bots-garden/capsule/capsulemodule/hostfunctions"
)

func main() {
	hf.SetHandleHttp(Handle)
	hf.SetHandle(func(params []string) (string, error) {
		return strings.Join(params, "|"), nil
	})
}

var lines []string

func tell(answer string, err error) {
	if err != nil {
		answer = "error: " + err.Error()
	}
	lines = append(lines, answer)
}

func Handle(request hf.Request) (hf.Response, error) {
	tell(hf.Ping("hi"), nil)
	tell(hf.GetHostInformation(), nil)
	tell(hf.MemorySet("key", ""))
	tell(hf.MemorySet("key", "value"))
	tell(hf.MemoryGet("key"))
	tell(hf.MemoryGet("none"))
	keys, err := hf.MemoryKeys()
	tell(strings.Join(keys, " "), err)
	tell(hf.ReadFile("none.txt"))
	tell(hf.WriteFile("none.txt", "text"))
	tell(hf.GetEnv("NONE"))
	tell(hf.Http("http://localhost/", "GET", map[string]string{"Accept": "*/*"}, ""))
	tell(hf.RedisSet("key", "value"))
	tell(hf.RedisGet("key"))
	keys, err = hf.RedisKeys("*")
	tell(strings.Join(keys, " "), err)
	tell(hf.CouchBaseQuery("SELECT 1"))
	tell(hf.NatsPublish("subject", "data"))
	tell(hf.NatsConnectPublish("server", "subject", "data"))
	tell(hf.MqttPublish("topic", "data"))
	tell(hf.MqttConnectPublish("server", "client", "topic", "data"))
	tell(request.Method+" "+request.Uri+" "+request.ParseQueryString()["a"], nil)
	return hf.Response{Body: strings.Join(lines, "\n"), Headers: map[string]string{"Content-Type": "text/plain"}}, nil
}
