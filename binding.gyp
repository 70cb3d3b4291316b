# A courtesy to tools that only know node-gyp: forwards to CMakeLists.txt, the only list of sources. Not published.
{
  "targets": [
    {
      "target_name": "fused_attention",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/fused_attention.node"],
          "action": ["node", "scripts/build.mjs", "gyp", "<(PRODUCT_DIR)"]
        }
      ]
    }
  ]
}
