// Anthropic's client for Node, on everything that it covers. Prints what it was told as one line of JSON.
import Anthropic from '@anthropic-ai/sdk';

const { BASE_URL, KEY, NARROW, STRANGER, LIMIT } = process.env;
const made = (options) => new Anthropic({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0, timeout: 10000, ...options });
const api = made();
const WORDS = 'one two three four';
const asking = { model: 'faq', max_tokens: 50, messages: [{ role: 'user', content: WORDS }] };
const input_schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const trip = {
  model: 'faq',
  max_tokens: 50,
  messages: [{ role: 'user', content: 'json, please' }],
  tools: [{ name: 'weather', description: 'w', input_schema }],
  tool_choice: { type: 'any' },
};

const error = async (promise) => {
  try {
    await promise;
    return 'no error';
  } catch (failed) {
    return [failed.constructor.name, failed.status ?? null, failed.type ?? null];
  }
};
const used = (message) => [message.stop_reason, ...message.content.map((block) => [block.type, block.name, block.input])];

const tests = {
  message: async () => {
    const { content, stop_reason, usage } = await api.messages.create({ ...asking, system: 'Be brief.' });
    return [content[0].text, stop_reason, usage.input_tokens, usage.output_tokens];
  },
  cut: async () => (await api.messages.create({ ...asking, max_tokens: 2 })).stop_reason,
  tool: async () => used(await api.messages.create(trip)),
  stream: async () => {
    const deltas = [];
    const message = await api.messages.stream(asking).on('text', (text) => deltas.push(text)).finalMessage();
    return [deltas, message.stop_reason, message.usage.output_tokens];
  },
  tool_stream: async () => used(await api.messages.stream(trip).finalMessage()),
  counted: async () => (await api.messages.countTokens({ model: 'faq', messages: asking.messages })).input_tokens,
  models: async () => {
    const ids = [];
    for await (const model of api.models.list()) ids.push(model.id);
    return ids;
  },
  bearer: async () => (await made({ apiKey: null, authToken: KEY }).messages.create(asking)).content[0].text,
  too_long: () => error(api.messages.create({ ...asking, messages: [{ role: 'user', content: 'x '.repeat(+LIMIT + 1) }] })),
  refused: () => error(api.messages.create({ ...asking, priority: 1 })),
  unknown: () => error(api.messages.create({ ...asking, model: 'nope' })),
  stranger: () => error(made({ apiKey: STRANGER }).messages.create(asking)),
  forbidden: () => error(made({ apiKey: NARROW }).messages.create(asking)),
  // Of these three the test makes the engine refuse, refuse, and die: the bodies say which.
  retried: async () =>
    (await made({ maxRetries: 1 }).messages.create({ ...asking, metadata: { user_id: 'retried' } })).content[0].text,
  overloaded: () => error(api.messages.create({ ...asking, metadata: { user_id: 'overloaded' } })),
  broken: () => error(api.messages.stream({ ...asking, metadata: { user_id: 'broken' } }).finalMessage()),
};

const results = {};
for (const [name, test] of Object.entries(tests)) {
  results[name] = await test().catch((failed) => `failed: ${failed.stack}`);
}
console.log(JSON.stringify(results));
