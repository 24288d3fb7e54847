/* The bytes of vLLM 0.32, as recorded in tests/samples: chat.txt, chat_stream_*.txt, version.txt, metrics.txt. */
#define MODEL "bench"
#define FINGERPRINT "\"system_fingerprint\":\"vllm-0.32.0-4a556b44\""

#define STREAM_HEAD \
    "HTTP/1.1 200 OK\r\ndate: %s\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n" \
    "vary: Origin\r\ntransfer-encoding: chunked\r\n\r\n"
#define CHUNK /* created, choice, usage, rest */ \
    "{\"id\":\"chatcmpl-b6438d2ec4449891\",\"object\":\"chat.completion.chunk\",\"created\":%ld,\"model\":\"" MODEL "\"," \
    "\"choices\":[%s]%s%s}"
#define FIRST "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}"
/* A digit: some gateways take a hundred equal tokens in a row for a model that has run wild, and end the stream. */
#define NEXT "{\"index\":0,\"delta\":{\"content\":\" word%d\"},\"logprobs\":null,\"finish_reason\":%s,\"token_ids\":null}"
#define LAST "\"stop\",\"stop_reason\":null"
#define COUNT ",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,\"completion_tokens\":%d%s}"

#define WHOLE_HEAD /* date, length, body */ \
    "HTTP/1.1 200 OK\r\ndate: %s\r\nserver: uvicorn\r\ncontent-length: %d\r\ncontent-type: application/json\r\n" \
    "vary: Origin\r\n\r\n%s"
#define WHOLE /* created, text, three counts */ \
    "{\"id\":\"chatcmpl-a67cb807f529813b\",\"object\":\"chat.completion\",\"created\":%ld,\"model\":\"" MODEL "\"," \
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null,\"annotations\":null," \
    "\"audio\":null,\"function_call\":null,\"reasoning\":null},\"logprobs\":null,\"finish_reason\":\"stop\"," \
    "\"stop_reason\":null,\"token_ids\":null,\"routed_experts\":null}],\"service_tier\":null," FINGERPRINT "," \
    "\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,\"completion_tokens\":%d,\"prompt_tokens_details\":null," \
    "\"completion_tokens_details\":null},\"prompt_logprobs\":null,\"prompt_token_ids\":null,\"prompt_text\":null," \
    "\"kv_transfer_params\":null,\"ec_transfer_params\":null,\"metrics\":null}"

#define PAGE_HEAD /* status, length, type */ \
    "HTTP/1.1 %s\r\nserver: uvicorn\r\ncontent-length: %zu\r\ncontent-type: %s\r\n\r\n"
#define CARD \
    "{\"id\":\"" MODEL "\",\"object\":\"model\",\"created\":1795365651,\"owned_by\":\"vllm\",\"root\":\"" MODEL "\"," \
    "\"parent\":null,\"max_model_len\":32768,\"permission\":[]}"
#define GAUGE(name) "# TYPE vllm:" name " gauge\nvllm:" name "{engine=\"0\",model_name=\"" MODEL "\"} 0.0\n"
#define JSON "application/json"

static const struct { const char *target, *type, *body; } PAGES[] = {
    {"/health", JSON, ""},
    {"/version", JSON, "{\"version\":\"0.32.0\"}"},
    {"/v1/models", JSON, "{\"object\":\"list\",\"data\":[" CARD "]}"},
    {"/metrics", "text/plain; version=1.0.0; charset=utf-8",
     GAUGE("num_requests_running") GAUGE("num_requests_waiting") GAUGE("kv_cache_usage_perc")},
    /* SGLang's own pages: its router asks for them before it takes a worker. */
    {"/server_info", JSON, "{\"model_id\":\"" MODEL "\",\"model_path\":\"" MODEL "\",\"served_model_name\":\"" MODEL "\"}"},
    {"/model_info", JSON, "{\"model_path\":\"" MODEL "\",\"is_generation\":true}"},
    {"/get_server_info", JSON, "{\"model_path\":\"" MODEL "\",\"served_model_name\":\"" MODEL "\",\"tp_size\":1,\"dp_size\":1}"},
    {"/get_model_info", JSON, "{\"model_path\":\"" MODEL "\",\"tokenizer_path\":\"" MODEL "\",\"is_generation\":true}"},
};
