// OpenAI's client for Node, on everything that it covers. Prints what it was told as one line of JSON.
import OpenAI, { toFile } from 'openai';

const { BASE_URL, KEY, NARROW, STRANGER, LIMIT, SOUND } = process.env;
const made = (options) => new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0, timeout: 10000, ...options });
const api = made();
const WORDS = 'one two three four';
const messages = [{ role: 'user', content: WORDS }];
const asking = { model: 'faq', messages };
const trip = { model: 'faq', messages: [{ role: 'user', content: 'json, please' }] };
const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools = [{ type: 'function', function: { name: 'weather', description: 'w', parameters: schema } }];
const sound = () => toFile(Buffer.from(SOUND, 'base64'), 'a.wav', { type: 'audio/wav' });

const error = async (promise) => {
  try {
    await promise;
    return 'no error';
  } catch (failed) {
    return [failed.constructor.name, failed.status ?? null, failed.code ?? null];
  }
};
const all = async (stream) => {
  const out = [];
  for await (const each of await stream) out.push(each);
  return out;
};
const called = (message) => message.tool_calls.map((call) => [call.function.name, call.function.arguments]);
const whole = (stream) => stream.finalChatCompletion();

const tests = {
  chat: async () => (await api.chat.completions.create(asking)).choices[0].message.content,
  several: async () => (await api.chat.completions.create({ ...asking, n: 3 })).choices.map((one) => one.message.content),
  logprobs: async () =>
    (await api.chat.completions.create({ ...asking, logprobs: true, top_logprobs: 1 })).choices[0].logprobs.content.map(
      (one) => one.token,
    ),
  stream: async () =>
    (await all(api.chat.completions.create({ ...asking, stream: true }))).map((chunk) => chunk.choices[0].delta.content),
  usage: async () => {
    const options = { stream: true, stream_options: { include_usage: true } };
    return (await all(api.chat.completions.create({ ...asking, ...options }))).at(-1).usage.completion_tokens;
  },
  tools: async () =>
    called((await api.chat.completions.create({ ...trip, tools, tool_choice: 'required' })).choices[0].message),
  tools_stream: async () =>
    called((await whole(api.chat.completions.stream({ ...trip, tools, tool_choice: 'required' }))).choices[0].message),
  structured: async () => {
    const response_format = { type: 'json_schema', json_schema: { name: 'trip', schema } };
    return JSON.parse((await api.chat.completions.create({ ...trip, response_format })).choices[0].message.content);
  },
  completion: async () =>
    (await api.completions.create({ model: 'faq', prompt: ['a b', 'c'], n: 2, logprobs: 1 })).choices.map((one) => one.text),
  completion_stream: async () =>
    (await all(api.completions.create({ model: 'faq', prompt: WORDS, stream: true }))).map((chunk) => chunk.choices[0].text),
  response: async () => (await api.responses.create({ model: 'faq', input: WORDS })).output_text,
  response_tool: async () => {
    const given = [{ type: 'function', name: 'weather', parameters: schema, strict: false }];
    const [call] = (await api.responses.create({ model: 'faq', input: 'json', tools: given, tool_choice: 'required' })).output;
    return [call.type, call.name, call.arguments];
  },
  response_stream: async () => {
    const stream = api.responses.stream({ model: 'faq', input: WORDS });
    const events = await all(stream);
    const deltas = events.filter((one) => one.type === 'response.output_text.delta').map((one) => one.delta);
    return [deltas, (await stream.finalResponse()).usage.output_tokens];
  },
  embeddings: async () => {
    const packed = await api.embeddings.create({ model: 'vectors', input: ['a b', 'c'] });
    const plain = await api.embeddings.create({ model: 'vectors', input: ['a b', 'c'], encoding_format: 'float' });
    const [one, other] = [packed, plain].map((each) => JSON.stringify(each.data.map((item) => item.embedding)));
    return [one === other, packed.data[0].embedding.length, packed.usage.prompt_tokens];
  },
  transcription: async () => (await api.audio.transcriptions.create({ model: 'ears', file: await sound() })).text,
  translation: async () => (await api.audio.translations.create({ model: 'ears', file: await sound() })).text,
  transcription_stream: async () =>
    (await all(api.audio.transcriptions.create({ model: 'ears', file: await sound(), stream: true }))).map(
      (chunk) => chunk.choices[0].delta.content,
    ),
  models: async () => (await all(api.models.list())).map((model) => model.id),
  model: async () => (await api.models.retrieve('faq')).id,
  too_long: () => error(api.chat.completions.create({ model: 'faq', messages: [{ role: 'user', content: 'x '.repeat(+LIMIT + 1) }] })),
  refused: () => error(api.chat.completions.create({ ...asking, guided_json: {} })),
  unknown: () => error(api.chat.completions.create({ ...asking, model: 'nope' })),
  stranger: () => error(made({ apiKey: STRANGER }).responses.create({ model: 'faq', input: WORDS })),
  forbidden: () => error(made({ apiKey: NARROW }).chat.completions.create(asking)),
  // Of these three the test makes the engine refuse, refuse, and die: the bodies say which.
  retried: async () =>
    (await made({ maxRetries: 1 }).chat.completions.create({ ...asking, user: 'retried' })).choices[0].message.content,
  overloaded: () => error(api.chat.completions.create({ ...asking, user: 'overloaded' })),
  broken: () => error(all(api.chat.completions.create({ ...asking, user: 'broken', stream: true }))),
};

const results = {};
for (const [name, test] of Object.entries(tests)) {
  results[name] = await test().catch((failed) => `failed: ${failed.stack}`);
}
console.log(JSON.stringify(results));
