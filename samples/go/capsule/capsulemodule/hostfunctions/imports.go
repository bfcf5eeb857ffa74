package hostfunctions

import "unsafe"

//go:wasmimport env hostLogString
func hostLogString(pointer unsafe.Pointer, size uint32)

//go:wasmimport env hostPing
func hostPing(message unsafe.Pointer, messageSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostGetHostInformation
func hostGetHostInformation(answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostReadFile
func hostReadFile(path unsafe.Pointer, pathSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostWriteFile
func hostWriteFile(path unsafe.Pointer, pathSize uint32, content unsafe.Pointer, contentSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostGetEnv
func hostGetEnv(name unsafe.Pointer, nameSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostHttp
func hostHttp(url unsafe.Pointer, urlSize uint32, method unsafe.Pointer, methodSize uint32, headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostRedisSet
func hostRedisSet(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, valueSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostRedisGet
func hostRedisGet(key unsafe.Pointer, keySize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostRedisKeys
func hostRedisKeys(pattern unsafe.Pointer, patternSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostCouchBaseQuery
func hostCouchBaseQuery(query unsafe.Pointer, querySize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMemorySet
func hostMemorySet(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, valueSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMemoryGet
func hostMemoryGet(key unsafe.Pointer, keySize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMemoryKeys
func hostMemoryKeys(answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostNatsPublish
func hostNatsPublish(subject unsafe.Pointer, subjectSize uint32, data unsafe.Pointer, dataSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostNatsConnectPublish
func hostNatsConnectPublish(server unsafe.Pointer, serverSize uint32, subject unsafe.Pointer, subjectSize uint32, data unsafe.Pointer, dataSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostNatsGetSubject
func hostNatsGetSubject(answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostNatsGetServer
func hostNatsGetServer(answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMqttPublish
func hostMqttPublish(topic unsafe.Pointer, topicSize uint32, data unsafe.Pointer, dataSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMqttConnectPublish
func hostMqttConnectPublish(server unsafe.Pointer, serverSize uint32, client unsafe.Pointer, clientSize uint32, topic unsafe.Pointer, topicSize uint32, data unsafe.Pointer, dataSize uint32, answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMqttGetTopic
func hostMqttGetTopic(answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMqttGetServer
func hostMqttGetServer(answerPointer, answerSize unsafe.Pointer)

//go:wasmimport env hostMqttGetClientId
func hostMqttGetClientId(answerPointer, answerSize unsafe.Pointer)
