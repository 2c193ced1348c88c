// @ts-check
/** A small choice of emoji; a person can type any other. The first word of each is its name. */

export const EMOJI = `😀 grin happy|😂 laugh tears joy|🙂 smile|😉 wink|😍 love eyes|😘 kiss|😎 cool sunglasses|🤔 think hmm|😐 neutral|🙄 eyeroll
😴 sleep tired|😢 sad cry|😭 sob cry|😡 angry|😱 scream shock|🤯 mind blown|🥳 party celebrate|🤗 hug|🤷 shrug|🤦 facepalm
👍 thumbs up yes|👎 thumbs down no|👏 clap|🙌 hooray|🙏 please thanks|💪 strong|👋 wave hello|✌️ peace|🤝 handshake deal|👀 eyes look
❤️ heart love|💔 broken heart|🔥 fire|✨ sparkles|🎉 tada party|🎂 cake birthday|🎁 gift|⭐ star|💡 idea light|⚡ lightning fast
✅ check done|❌ cross no|⚠️ warning|❓ question|❗ exclamation|💯 hundred|🚀 rocket ship|🐛 bug|🔧 wrench fix|🧪 test
☕ coffee|🍕 pizza|🍺 beer|🌮 taco|🍎 apple|🍪 cookie|🌞 sun|🌧️ rain|❄️ snow cold|🌈 rainbow
🐦 bird starling|🐱 cat|🐶 dog|🦄 unicorn|🐢 turtle slow|🐙 octopus|🌱 plant|🌍 world earth|🏠 home|⏰ clock time`
  .split(/[\n|]/u)
  .map((entry) => {
    const [emoji = "", ...words] = entry.trim().split(" ");
    return { emoji, words: words.join(" ") };
  });
