package hostfunctions

import (
	"runtime"
	"strings"
	"unsafe"
)

// Log adds a line to the log of the job.
func Log(message string) {
	pointer, size := place(message)
	hostLogString(pointer, size)
	runtime.KeepAlive(message)
}

// Ping asks the host for a sign of life.
func Ping(message string) string { return ask1(hostPing, message).text() }

// GetHostInformation returns JSON: the port of the server of HTTP requests, if there is one.
func GetHostInformation() string { return ask0(hostGetHostInformation).text() }

// ReadFile returns what is in a file.
func ReadFile(path string) (string, error) { return ask1(hostReadFile, path).result() }

// WriteFile makes a file of a text.
func WriteFile(path string, content string) (string, error) {
	return ask2(hostWriteFile, path, content).result()
}

// GetEnv returns the value of a variable of the environment; an error when it is not set.
func GetEnv(name string) (string, error) { return ask1(hostGetEnv, name).result() }

// Http sends a request and returns the body of the response.
func Http(url, method string, headers map[string]string, body string) (string, error) {
	if body == "" {
		body = "empty"
	}
	return ask4(hostHttp, url, method, joinHeaders(headers), body).result()
}

// RedisSet sets a key.
func RedisSet(key string, value string) (string, error) { return ask2(hostRedisSet, key, value).result() }

// RedisGet returns the value of a key; an error when there is none.
func RedisGet(key string) (string, error) { return ask1(hostRedisGet, key).result() }

// RedisKeys returns the keys that fit a pattern.
func RedisKeys(pattern string) ([]string, error) { return list(ask1(hostRedisKeys, pattern).result()) }

// CouchBaseQuery returns the rows that a query finds, as JSON.
func CouchBaseQuery(query string) (string, error) { return ask1(hostCouchBaseQuery, query).result() }

// MemorySet sets a key of the memory store.
func MemorySet(key string, value string) (string, error) { return ask2(hostMemorySet, key, value).result() }

// MemoryGet returns the value of a key of the memory store; an error when there is none.
func MemoryGet(key string) (string, error) { return ask1(hostMemoryGet, key).result() }

// MemoryKeys returns all keys of the memory store.
func MemoryKeys() ([]string, error) { return list(ask0(hostMemoryKeys).result()) }

// NatsPublish publishes a message.
func NatsPublish(subject string, data string) (string, error) {
	return ask2(hostNatsPublish, subject, data).result()
}

// NatsConnectPublish publishes a message at a server.
func NatsConnectPublish(server string, subject string, data string) (string, error) {
	return ask3(hostNatsConnectPublish, server, subject, data).result()
}

// NatsGetSubject returns the subject of the message that came.
func NatsGetSubject() string { return ask0(hostNatsGetSubject).text() }

// NatsGetServer returns the server that the message came from.
func NatsGetServer() string { return ask0(hostNatsGetServer).text() }

// MqttPublish publishes a message.
func MqttPublish(topic string, data string) (string, error) {
	return ask2(hostMqttPublish, topic, data).result()
}

// MqttConnectPublish publishes a message at a server.
func MqttConnectPublish(server, client, topic, data string) (string, error) {
	return ask4(hostMqttConnectPublish, server, client, topic, data).result()
}

// MqttGetSubject returns the topic of the message that came.
func MqttGetSubject() string { return ask0(hostMqttGetTopic).text() }

// MqttGetServer returns the server that the message came from.
func MqttGetServer() string { return ask0(hostMqttGetServer).text() }

// MqttGetClientId returns the name that the host has at that server.
func MqttGetClientId() string { return ask0(hostMqttGetClientId).text() }

func list(text string, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return strings.Split(text, separator), nil
}

type pointer = unsafe.Pointer

func ask0(host func(pointer, pointer)) *cells {
	found := new(cells)
	host(pointer(&found.pointer), pointer(&found.size))
	return found
}

func ask1(host func(pointer, uint32, pointer, pointer), text string) *cells {
	found := new(cells)
	at, size := place(text)
	host(at, size, pointer(&found.pointer), pointer(&found.size))
	runtime.KeepAlive(text)
	return found
}

func ask2(host func(pointer, uint32, pointer, uint32, pointer, pointer), first, second string) *cells {
	return ask1(func(at pointer, size uint32, answer, answerSize pointer) {
		secondAt, secondSize := place(second)
		host(at, size, secondAt, secondSize, answer, answerSize)
		runtime.KeepAlive(second)
	}, first)
}

func ask3(host func(pointer, uint32, pointer, uint32, pointer, uint32, pointer, pointer), first, second, third string) *cells {
	return ask2(func(at pointer, size uint32, secondAt pointer, secondSize uint32, answer, answerSize pointer) {
		thirdAt, thirdSize := place(third)
		host(at, size, secondAt, secondSize, thirdAt, thirdSize, answer, answerSize)
		runtime.KeepAlive(third)
	}, first, second)
}

func ask4(
	host func(pointer, uint32, pointer, uint32, pointer, uint32, pointer, uint32, pointer, pointer),
	first, second, third, fourth string,
) *cells {
	return ask3(func(at pointer, size uint32, secondAt pointer, secondSize uint32, thirdAt pointer, thirdSize uint32, answer, answerSize pointer) {
		fourthAt, fourthSize := place(fourth)
		host(at, size, secondAt, secondSize, thirdAt, thirdSize, fourthAt, fourthSize, answer, answerSize)
		runtime.KeepAlive(fourth)
	}, first, second, third)
}
